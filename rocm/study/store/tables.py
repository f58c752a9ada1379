"""Tables of the vote store, the same on SQLite and PostgreSQL; docs/study.md describes each column.

What spans rows or forbids a change stands in `rocm.study.store.triggers`.
"""

from sqlalchemy import Column, Index, Integer, PrimaryKeyConstraint, Text
from sqlalchemy.types import REAL, Double

from rocm.study.store.columns import (
    check,
    flag,
    hexadecimal,
    json,
    large_number,
    metadata,
    number,
    numbers,
    one_of,
    refers,
    row_id,
    table,
    text,
    texts,
    unique,
)

__all__ = ["metadata"]

STATUSES = ("draft", "open", "paused", "closed")
SOURCES = ("local", "link", "prolific", "mturk", "hf", "pilot", "demo", "simulated")
KINDS = ("main", "check", "practice")
CHOICES = ("a", "b", "tie")
SIDES = ("left", "right", "tie")
TIE_REASONS = ("both_good", "both_bad")
TRIAL_STATES = ("issued", "done", "skipped", "expired")
RATER_STATES = ("active", "complete", "screened_out", "withdrawn")

study = table(
    "study",
    Column("id", Text, primary_key=True),
    *texts("title seed status"),
    number("is_demo"),
    text("config_json"),
    *texts("config_sha256 key_sha256 key_nonce", optional=True),
    number("votes_per_pair"),
    text("created_at"),
    *texts("opened_at closed_at", optional=True),
    *hexadecimal("id", 12),
    one_of("status", STATUSES),
    flag("is_demo"),
    *json("config_json"),
    *hexadecimal("config_sha256", 64),
    *hexadecimal("key_sha256", 64),
    *hexadecimal("key_nonce", 32),
    check("votes_per_pair_positive", "votes_per_pair > 0"),
    check("title_length", "length(title) BETWEEN 1 AND 200"),
    check("frozen_has_hash", "(status = 'draft') = (config_sha256 IS NULL)"),
    check("frozen_is_dated", "(status = 'draft') = (opened_at IS NULL)"),
    check("closed_is_dated", "(status = 'closed') = (closed_at IS NOT NULL)"),
)

question = table(
    "question",
    *texts("study_id key text"),
    *numbers("show_prompt allow_tie position"),
    PrimaryKeyConstraint("study_id", "key"),
    refers("study_id", "study", "id"),
    *unique("study_id position"),
    flag("show_prompt"),
    flag("allow_tie"),
    check("position_not_negative", "position >= 0"),
    check("text_length", "length(text) BETWEEN 1 AND 500"),
)

prompt = table(
    "prompt",
    row_id(),
    *texts("study_id source"),
    number("source_row"),
    *texts("category text"),
    refers("study_id", "study", "id"),
    *unique("id study_id", "study_id source source_row", "study_id text"),
    check("text_length", "length(text) BETWEEN 1 AND 4000"),
)

arm = table(
    "arm",
    row_id(),
    *texts("study_id code role"),
    *texts("name method reward base_model adapter_sha256 params_json", optional=True),
    refers("study_id", "study", "id"),
    *unique("id study_id", "study_id code", "study_id name"),
    one_of("role", ("compared", "damaged")),
    *hexadecimal("code", 8),
    *hexadecimal("adapter_sha256", 64),
    *json("params_json"),
)

image = table(
    "image",
    row_id(),
    text("study_id"),
    *numbers("arm_id prompt_id"),
    large_number("seed"),
    *texts("picture_id sha256"),
    *numbers("width height"),
    refers("arm_id study_id", "arm", "id study_id"),
    refers("prompt_id study_id", "prompt", "id study_id"),
    *unique("arm_id prompt_id seed", "id arm_id prompt_id seed study_id", "picture_id"),
    *hexadecimal("picture_id", 32),
    *hexadecimal("sha256", 64),
    check("seed_not_negative", "seed >= 0"),
    check("size_positive", "width > 0 AND height > 0"),
)

score = table(
    "score",
    number("image_id"),
    text("reward"),
    Column("value", REAL().with_variant(Double(), "postgresql"), nullable=False),
    PrimaryKeyConstraint("image_id", "reward"),
    refers("image_id", "image", "id"),
)

pair = table(
    "pair",
    row_id(),
    text("study_id"),
    number("prompt_id"),
    large_number("seed"),
    *numbers("arm_a arm_b image_a image_b"),
    text("kind"),
    text("expected", optional=True),
    number("target", optional=True),
    number("issued"),
    text("struck", optional=True),
    # Both pictures provably share prompt and seed.
    refers("image_a arm_a prompt_id seed study_id", "image", "id arm_id prompt_id seed study_id"),
    refers("image_b arm_b prompt_id seed study_id", "image", "id arm_id prompt_id seed study_id"),
    *unique("image_a image_b", "id study_id"),
    one_of("kind", KINDS),
    check("arms_ordered", "arm_a < arm_b"),
    check("expected_is_side", "expected IN ('a', 'b')"),
    check("check_has_answer", "(kind = 'check') = (expected IS NOT NULL)"),
    check("main_has_target", "(kind = 'main') = (target IS NOT NULL)"),
    check("target_positive", "target > 0"),
    check("issued_within_target", "issued >= 0 AND issued <= coalesce(target, 0)"),
    check("struck_has_reason", "length(struck) BETWEEN 1 AND 500"),
)

rater = table(
    "rater",
    row_id(),
    text("study_id"),
    number("number"),
    text("source"),
    text("ext_hmac", optional=True),
    text("token_sha256"),
    *texts("consent_version consented_at", optional=True),
    text("status"),
    text("completion_code", optional=True),
    text("created_at"),
    refers("study_id", "study", "id"),
    *unique("study_id number", "study_id source ext_hmac", "token_sha256", "id study_id"),
    one_of("source", SOURCES),
    one_of("status", RATER_STATES),
    *hexadecimal("ext_hmac", 64),
    *hexadecimal("token_sha256", 64),
    check("number_positive", "number > 0"),
    check("consent_is_dated", "(consent_version IS NULL) = (consented_at IS NULL)"),
    has_counted_id=True,
)

block = table(
    "block",
    row_id(),
    text("study_id"),
    number("number"),
    text("origin"),
    number("rater_id", optional=True),
    text("taken_at", optional=True),
    refers("study_id", "study", "id"),
    refers("rater_id study_id", "rater", "id study_id"),
    *unique("study_id number", "rater_id", "id study_id", "id rater_id"),
    one_of("origin", ("planned", "repair", "pilot")),
    check("taken_is_dated", "(rater_id IS NULL) = (taken_at IS NULL)"),
    has_counted_id=True,
)

slot = table(
    "slot",
    *numbers("block_id position"),
    text("study_id"),
    *numbers("pair_id rep"),
    text("left_is"),
    PrimaryKeyConstraint("block_id", "position"),
    refers("block_id study_id", "block", "id study_id"),
    refers("pair_id study_id", "pair", "id study_id"),
    *unique("block_id pair_id rep"),
    *unique("block_id pair_id left_is"),  # a repeat shows the other side
    *unique("block_id position pair_id rep left_is"),
    one_of("left_is", ("a", "b")),
    flag("rep"),
    check("position_not_negative", "position >= 0"),
)

trial = table(
    "trial",
    row_id(),
    *texts("public_id study_id"),
    *numbers("rater_id block_id position pair_id rep"),
    *texts("left_is state issued_at lease_until"),
    *texts("shown_at done_at", optional=True),
    refers("rater_id study_id", "rater", "id study_id"),
    refers("pair_id study_id", "pair", "id study_id"),
    # A trial is what the rater's block planned: pair, repeat and side.
    refers("block_id rater_id", "block", "id rater_id"),
    refers(
        "block_id position pair_id rep left_is", "slot", "block_id position pair_id rep left_is"
    ),
    *unique("public_id", "rater_id pair_id rep", "rater_id position", "id study_id"),
    one_of("state", TRIAL_STATES),
    one_of("left_is", ("a", "b")),
    *hexadecimal("public_id", 32),
    check("done_is_dated", "(state = 'done') = (done_at IS NOT NULL)"),
    has_counted_id=True,
)
_is_open = trial.c.state == "issued"
Index(
    "uq_trial_one_open_per_rater",
    trial.c.rater_id,
    unique=True,
    sqlite_where=_is_open,
    postgresql_where=_is_open,
)
Index("ix_trial_pair_id", trial.c.pair_id)

vote = table(
    "vote",
    row_id(),
    text("study_id"),
    number("trial_id"),
    *texts("question_key choice raw_side"),
    text("tie_reason", optional=True),
    number("rt_ms"),
    *numbers("viewport_width viewport_height picture_size", optional=True),
    text("created_at"),
    text("previous", optional=True),
    refers("trial_id study_id", "trial", "id study_id"),
    refers("study_id question_key", "question", "study_id key"),
    *unique("trial_id question_key"),
    one_of("choice", CHOICES),
    one_of("raw_side", SIDES),
    one_of("tie_reason", TIE_REASONS),
    check("reason_needs_tie", "tie_reason IS NULL OR choice = 'tie'"),
    check("rt_ms_range", "rt_ms BETWEEN 0 AND 86400000"),
    check("screen_positive", "viewport_width > 0 AND viewport_height > 0 AND picture_size > 0"),
    *hexadecimal("previous", 64),
    has_counted_id=True,
)

chain = table(
    "chain",
    Column("study_id", Text, primary_key=True),
    number("num_votes"),
    text("head"),
    refers("study_id", "study", "id"),
    check("num_votes_not_negative", "num_votes >= 0"),
    *hexadecimal("head", 64),
)

exclusion = table(
    "exclusion",
    row_id(),
    text("study_id"),
    *numbers("rater_id trial_id", optional=True),
    *texts("rule created_at"),
    refers("rater_id study_id", "rater", "id study_id"),
    refers("trial_id study_id", "trial", "id study_id"),
    *unique("rater_id rule", "trial_id rule"),
    check("excludes_one_thing", "(rater_id IS NULL) <> (trial_id IS NULL)"),
    check("rule_length", "length(rule) BETWEEN 1 AND 100"),
    has_counted_id=True,
)

payment = table(
    "payment",
    Column("rater_id", Integer, primary_key=True, autoincrement=False),
    text("external_id"),
    refers("rater_id", "rater", "id"),
    check("external_id_length", "length(external_id) BETWEEN 1 AND 200"),
)

event = table(
    "event",
    row_id(),
    *texts("study_id at"),
    *numbers("rater_id trial_id", optional=True),
    *texts("kind data_json"),
    refers("study_id", "study", "id"),
    refers("rater_id study_id", "rater", "id study_id"),
    refers("trial_id study_id", "trial", "id study_id"),
    *json("data_json"),
    check("kind_length", "length(kind) BETWEEN 1 AND 40"),
    has_counted_id=True,
)
