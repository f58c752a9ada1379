"""Faults in the voting page and its API."""

from mutated.mutation import Mutation

PAGE = "tests/browser/test_vote_page.py::"
API = "tests/web/test_api.py::"

MUTATIONS = [
    Mutation(
        "left and right swapped in a trial",
        "rocm/web/views.py",
        '"left": picture(one.left),',
        '"left": picture(one.right),',
        API + "test_left_is_the_side_that_the_store_says",
    ),
    Mutation(
        "any token will do",
        "rocm/study/queries.py",
        "select(raters).where(raters.c.token_sha256 == hashed(token))",
        "select(raters)",
        API + "test_every_act_asks_for_the_token[progress]",
    ),
    Mutation(
        "anybody may act on a trial",
        "rocm/study/queries.py",
        "trials.c.public_id == public_id, trials.c.rater_id == row.id",
        "trials.c.public_id == public_id",
        API + "test_nobody_acts_on_anothers_trial",
    ),
    Mutation(
        "questions after the prompt come first",
        "rocm/web/views.py",
        "key=lambda one: one.show_prompt)",
        "key=lambda one: not one.show_prompt)",
        API + "test_questions_without_the_prompt_come_first_and_keep_their_order",
    ),
    Mutation(
        "the file's name and date with a picture",
        "rocm/web/server.py",
        'headers={"Cache-Control": FOREVER})',
        'headers={"Cache-Control": FOREVER, "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})',
        API + "test_pictures_say_neither_when_nor_by_what_they_were_made",
    ),
    Mutation(
        "the whole manifest to the browser",
        "rocm/web/views.py",
        '"title": info.title,',
        '"title": info.title, "config": info.config,',
        "tests/web/test_blind.py::test_no_word_of_an_arm_is_in_any_response",
    ),
    Mutation(
        "another site's page may write",
        "rocm/web/server.py",
        'not in ("same-origin", "none"):',
        'not in ("same-origin", "none", "cross-site"):',
        API + "test_a_page_of_another_site_may_not_write[cross-site]",
    ),
    Mutation(
        "an address of the visitor's choice",
        "rocm/web/server.py",
        'rpartition(",")[2]',
        'partition(",")[0]',
        API + "test_too_many_visits_of_one_address_are_refused_and_others_are_not",
    ),
    Mutation(
        "the outside id itself kept without being asked",
        "rocm/web/api.py",
        'payment_id=outside if info.config.get("pays") and body.source in PAID else None,',
        "payment_id=outside,",
        API + "test_an_outside_id_is_stored_as_keyed_hash_only",
    ),
    Mutation(
        "the prompt shown too early",
        "assets/vote/vote.js",
        "ask(!questions.hasBlindPart);",
        "ask(true);",
        PAGE + "test_the_prompt_is_nowhere_before_the_questions_without_it_are_answered",
    ),
    Mutation(
        "sides swapped in the page",
        "assets/vote/questions.js",
        "this.answers[question.key] = { side, rt_ms",
        "this.answers[question.key] = { side: side === 'left' ? 'right' : 'left', rt_ms",
        PAGE + "test_a_study_is_voted_through_by_keys_alone",
    ),
    Mutation(
        "buttons before the pictures",
        "assets/vote/vote.js",
        "  enable(false);\n  show('trial');",
        "  enable(true);\n  show('trial');",
        PAGE + "test_buttons_wait_for_both_pictures",
    ),
]
