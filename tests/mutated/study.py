"""Faults in the vote store: its database, its plan of work, what leaves the server."""

from mutated.mutation import Mutation

STORE = "tests/study/test_store.py::"
TABLES = "tests/study/test_tables.py::"
BUILD = "tests/study/test_build.py::"
BACKUP = "tests/study/test_backup.py::"

MUTATIONS = [
    Mutation(
        "a vote can be changed",
        "rocm/study/triggers.py",
        'yield Guard(f"{table}_no_update", table, "UPDATE", "1 = 1", why)',
        'yield Guard(f"{table}_no_update", table, "UPDATE", "1 = 0", why)',
        f"{TABLES}test_votes_and_events_are_append_only[sqlite-update-table0]",
    ),
    Mutation(
        "two open trials of one rater",
        "rocm/study/tables.py",
        '    "uq_trial_one_open_per_rater",\n    trial.c.rater_id,\n    unique=True,',
        '    "uq_trial_one_open_per_rater",\n    trial.c.rater_id,\n    unique=False,',
        "tests/study/test_migrate.py::test_an_upgraded_database_is_one_made_at_once[sqlite]",
    ),
    Mutation(
        "a retry votes again",
        "rocm/study/store.py",
        'if found.state == "done":',
        'if found.state == "never":',
        f"{STORE}test_a_vote_sent_three_times_at_once_is_stored_once[sqlite]",
    ),
    Mutation(
        "left and right exchanged",
        "rocm/study/plan.py",
        'return left_is if side == "left" else {"a": "b", "b": "a"}[left_is]',
        'return left_is if side == "right" else {"a": "b", "b": "a"}[left_is]',
        f"{STORE}test_a_choice_is_the_arm_that_was_on_the_side[sqlite]",
    ),
    Mutation(
        "pictures on the wrong side",
        "rocm/study/queries.py",
        '(a, b) if found.left_is == "a" else (b, a)',
        '(a, b) if found.left_is == "b" else (b, a)',
        f"{STORE}test_a_trial_shows_the_pictures_of_its_side[sqlite]",
    ),
    Mutation(
        "a skip keeps its place",
        "rocm/study/store.py",
        "plan.give_back(w, [found.pair_id] if plan.counts(w, found, row) else [])",
        "plan.give_back(w, [])",
        f"{STORE}test_a_skip_frees_the_place_and_stores_no_vote[sqlite]",
    ),
    Mutation(
        "work of raters at work is given away",
        "rocm/study/plan.py",
        "reserved = _reserved(w, study.id, now - timedelta(",
        "reserved = _reserved(w, study.id, now + timedelta(",
        f"{STORE}test_what_is_planned_for_raters_at_work_is_not_given_away[sqlite]",
    ),
    Mutation(
        "a repeat on the same side",
        "rocm/study/blocks.py",
        "return Sided(self.pair, other(self.left_is), 1)",
        "return Sided(self.pair, self.left_is, 1)",
        f"{STORE}test_repeats_come_ten_trials_later_on_the_other_side[sqlite]",
    ),
    Mutation(
        "sides by chance, not balanced",
        "rocm/study/blocks.py",
        "left[number, pair] = forth if is_forth else other(forth)",
        'left[number, pair] = random.choice("ab")',
        "tests/study/test_blocks.py::test_either_side_comes_equally_often_by_pair_and_by_block",
    ),
    Mutation(
        "a pair twice in one block",
        "rocm/study/blocks.py",
        "if p in held[j] or q in held[i]:",
        "if p in held[i] and q in held[i]:",
        "tests/study/test_blocks.py::test_every_pair_is_in_k_blocks_and_never_twice_in_one",
    ),
    Mutation(
        "a pilot takes a place",
        "rocm/study/plan.py",
        'needs_place = planned.kind == "main" and planned.rep == 0 and row.source != "pilot"',
        'needs_place = planned.kind == "main" and planned.rep == 0',
        f"{STORE}test_a_pilot_takes_no_place[sqlite]",
    ),
    Mutation(
        "noise by arm",
        "rocm/study_build.py",
        "return Picture(text, seed, **",
        "return Picture(text, seed + one.id, **",
        f"{BUILD}test_both_pictures_of_a_pair_are_drawn_from_the_same_noise[sqlite]",
    ),
    Mutation(
        "the key travels",
        "rocm/study/archive.py",
        "        one.update(dict.fromkeys(SECRET))",
        "        one.update({})",
        f"{BUILD}test_a_packed_study_names_no_arm_and_its_votes_come_home[sqlite]",
    ),
    Mutation(
        "a changed picture is unpacked",
        "rocm/study/bundle.py",
        'if sha256(content).hexdigest() != row["sha256"]:',
        'if not row["sha256"]:',
        f"{BUILD}test_a_zip_that_was_changed_is_refused[sqlite-picture]",
    ),
    Mutation(
        "formulas in the export",
        "rocm/study/export.py",
        'return f"\'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value',
        "return value",
        f"{BUILD}test_no_cell_is_a_formula[=1+1]",
    ),
    Mutation(
        "a commit that is not in the journal",
        "rocm/study/database.py",
        "                self.on_commit(writing.changes)",
        "                self.on_commit(writing.changes[:1])",
        f"{BACKUP}test_every_acknowledged_vote_is_there_after_the_disk_is_gone",
    ),
    Mutation(
        "another process unnoticed",
        "rocm/study/backup.py",
        "or self._version() != self._seen:",
        "or self._version() < self._seen:",
        f"{BACKUP}test_what_another_process_wrote_is_saved_with_the_next_commit",
    ),
    Mutation(
        "triggers lost by an upgrade",
        "rocm/study/migrate.py",
        "        _run(w.connection, triggers.statements(database.dialect))",
        "        pass",
        "tests/study/test_migrate.py::test_an_upgrade_keeps_votes_triggers_and_a_copy[sqlite]",
    ),
    Mutation(
        "simulated raters confuse the sides",
        "rocm/study/robots.py",
        "a_is_left = left < right",
        "a_is_left = left > right",
        "tests/study/test_robots.py::test_the_arm_that_should_win_does_and_the_report_is_marked",
    ),
    Mutation(
        "simulated votes among people's",
        "rocm/study/robots.py",
        "if people:",
        "if False:",
        "tests/study/test_robots.py::test_where_a_person_takes_part_simulated_votes_are_refused",
    ),
    Mutation(
        "votes of a pilot reported",
        "rocm/study/rows.py",
        "not {PILOT, WITHDRAWN} & set(",
        "not {WITHDRAWN} & set(",
        "tests/study/test_findings.py::test_votes_of_a_pilot_are_never_reported",
    ),
    Mutation(
        "every check shows the first arm's picture",
        "rocm/study/pairing.py",
        '"big") % len(compared)',
        '"big") % 1',
        "tests/study/test_build.py::test_checks_show_pictures_of_all_arms",
    ),
]
