"""Faults in what keeps a server of studies safe where everybody can reach it."""

from mutated.mutation import Mutation

THREATS = "tests/web/test_threats.py::"
ZIPS = "tests/web/test_zips.py::"
LOGIN = "tests/web/test_login.py::"

MUTATIONS = [
    Mutation(
        "public: a full disk as the rater's fault",
        "rocm/web/refusal.py",
        'return Refusal(503, "unavailable", NOT_SAVED)',
        'return Refusal(400, "refused", NOT_SAVED)',
        "tests/web/test_api.py::"
        "test_a_full_disk_is_no_fault_of_the_rater_and_the_vote_can_be_sent_again",
    ),
    Mutation(
        "public: each IPv6 address counted by itself",
        "rocm/web/limits.py",
        "(int(found) >> 64 << 64, 64)",
        "(int(found), 128)",
        THREATS + "test_whoever_owns_an_ipv6_network_is_one_visitor",
    ),
    Mutation(
        "public: tokens push addresses out",
        "rocm/web/limits.py",
        "known = self._left[kind]",
        'known = self._left[""]',
        THREATS + "test_tokens_made_up_by_the_thousand_do_not_push_out_an_addresss_count",
    ),
    Mutation(
        "public: a proxy leads to a lab of one",
        "rocm/web/mode.py",
        'mode == "lab" and is_local and not any(ways_in)',
        'mode == "lab" and is_local',
        THREATS + "test_votes_without_a_person_come_in_only_where_nobody_else_can"
        "[lab-True-ways_in5-False]",
    ),
    Mutation(
        "public: a zip that swells",
        "rocm/study/bundle.py",
        "if total > source.stat().st_size or any(",
        "if any(",
        ZIPS + "test_files_that_lie_in_each_other_are_refused",
    ),
    Mutation(
        "public: a picture of any size",
        "rocm/study/bundle.py",
        "if (width, height) != size or max(size) > MAX_SIDE:",
        "if (width, height) != size:",
        ZIPS + "test_a_picture_is_decoded_before_a_rater_gets_it[169 million pixels]",
    ),
    Mutation(
        "public: a zip's rows of another study",
        "rocm/study/bundle.py",
        'if row.get("study_id", study_id) != study_id:',
        'if row.get("study_id", study_id) is None:',
        ZIPS + "test_rows_that_no_pack_writes_are_one_sentence[a row of another study]",
    ),
    Mutation(
        "public: a zip's pictures over those of others",
        "rocm/study/archive.py",
        "    _check_owner(store, found)\n",
        "",
        ZIPS + "test_no_picture_of_another_study_is_replaced",
    ),
    Mutation(
        "public: a demonstration's visitor anywhere",
        "rocm/study/studies.py",
        'one for one in SOURCES if one != "demo"',
        "one for one in SOURCES",
        LOGIN + "test_nobody_comes_as_a_demonstrations_visitor_into_another_study",
    ),
    Mutation(
        "public: nobody told of a proxy",
        "app.py",
        'is_space or get("ROCM_PROXIED") == "1"',
        "is_space",
        "tests/test_app.py::test_addresses_of_a_proxy_are_believed_only_where_one_is_named"
        "[settings1-True]",
    ),
    Mutation(
        "public: an invitation made up",
        "rocm/web/api.py",
        'body.source == "invite" and hashed(body.external_id or "") not in known',
        'body.source == "invite" and not known',
        LOGIN + "test_a_study_with_invitations_takes_nobody_else_but_pilots[body0]",
    ),
    Mutation(
        "public: uninvited raters by the open link",
        "rocm/web/api.py",
        'UNINVITED = ("link", *PAID, "hf")',
        'UNINVITED = (*PAID, "hf")',
        LOGIN + "test_a_study_with_invitations_takes_nobody_else_but_pilots[body0]",
    ),
    Mutation(
        "public: the account's own id in the database",
        "rocm/web/api.py",
        "ext_hmac=outside and external_hmac(key, body.source, outside),",
        "ext_hmac=outside and outside.encode().hex().ljust(64, '0')[:64],",
        LOGIN + "test_who_logs_in_is_known_by_a_keyed_hash_and_nothing_else",
    ),
]
