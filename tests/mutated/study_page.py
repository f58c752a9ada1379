"""Faults in the Study page and in what it asks for."""

from mutated.mutation import Mutation

DESK = "tests/study/test_desk.py::"
PAGE = "tests/ui/test_study_page.py::"
BIN = "tests/study/test_bin.py::"

MUTATIONS = [
    Mutation(
        "a poll undoes a choice",
        "rocm/ui/study_page.py",
        "changes.pop(self._view.selected, None)",
        "changes.pop(self._view.pending, None)",
        f"{PAGE}test_a_poll_on_its_way_does_not_undo_a_choice",
    ),
    Mutation(
        "a poll shows studies to anybody",
        "rocm/ui/study_page.py",
        "return self._locked() if seen else {self._view.seen: ()}",
        "return self._shown(selected, base, seen)",
        f"{PAGE}test_without_the_token_nobody_sees_a_study",
    ),
    Mutation(
        "half a study is opened",
        "rocm/study_desk.py",
        'return "unfinished" if about.status == "draft" and not has_pairs else about.status',
        "return about.status",
        f"{DESK}test_a_cancelled_build_is_kept_and_goes_on_in_another_app",
    ),
    Mutation(
        "another adapter goes into a begun study",
        "rocm/study_builder.py",
        "if identified(self._home, recipe)[0] != study_id:",
        "if not identified(self._home, recipe)[0]:",
        f"{DESK}test_a_changed_adapter_does_not_go_into_a_begun_study",
    ),
    Mutation(
        "a prompt is markup",
        "rocm/ui/study_view.py",
        "<figcaption><span>{escape(row.prompt)}</span>",
        "<figcaption><span>{row.prompt}</span>",
        f"{PAGE}test_prompts_titles_and_reasons_are_never_html",
    ),
    Mutation(
        "consent left empty",
        "rocm/study_wish.py",
        'if not (getattr(wish, name) or "").strip():',
        'if getattr(wish, name) == "none":',
        f"{DESK}test_what_is_wrong_in_a_form_is_one_sentence[changed4-Consent, contact, is not "
        "filled in]",
    ),
    Mutation(
        "an opened study is deleted",
        "rocm/study_bin.py",
        'if row.status != "draft":',
        'if row.status == "gone":',
        f"{BIN}test_a_study_that_was_opened_is_never_deleted[sqlite-open]",
    ),
    Mutation(
        "votes can be deleted",
        "rocm/study/triggers.py",
        'yield Guard(f"{table}_no_delete", table, "DELETE", _frozen("OLD"), why)',
        'yield Guard(f"{table}_no_delete", table, "DELETE", "1 = 0", why)',
        "tests/study/test_tables.py::test_votes_and_events_are_append_only[sqlite-delete-table0]",
    ),
    Mutation(
        "a deletion is written into the journal",
        "rocm/study/backup.py",
        "                self._seen = NEVER",
        "                self._error = str(NEVER)",
        "tests/study/test_backup.py::test_what_is_deleted_is_in_no_backup_and_can_come_back_into_it",
    ),
    Mutation(
        "a link that admits nobody is offered",
        "rocm/ui/study_page.py",
        "is_open_to_all = state in RUNNING and not look.num_invited",
        "is_open_to_all = state in RUNNING",
        f"{PAGE}test_invitations_are_shown_once_and_take_the_open_links_place",
    ),
]
