"""Tables of the vote store, the same on SQLite and PostgreSQL; docs/study.md describes each column.

Every constraint has a name. What spans rows or forbids a change stands in
`rocm.study.store.triggers`.
"""

from typing import Any

import sqlalchemy as sa

STATUSES = ("draft", "open", "paused", "closed")
SOURCES = ("local", "link", "prolific", "mturk", "hf", "pilot", "demo", "simulated")
KINDS = ("main", "check", "practice")
CHOICES = ("a", "b", "tie")
SIDES = ("left", "right", "tie")
TIE_REASONS = ("both_good", "both_bad")
TRIAL_STATES = ("issued", "done", "skipped", "expired")
RATER_STATES = ("active", "complete", "screened_out", "withdrawn")

metadata = sa.MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def table(name: str, *parts: Any, has_counted_id: bool = False) -> sa.Table:
    """A table, STRICT on SQLite; a counted id is never used again after an erasure."""
    return sa.Table(name, metadata, *parts, sqlite_strict=True, sqlite_autoincrement=has_counted_id)


def row_id() -> sa.Column[int]:
    """The whole number that is a row's key."""
    return sa.Column("id", sa.Integer, primary_key=True)


def texts(names: str, *, optional: bool = False) -> list[sa.Column[str]]:
    """Texts, names parted by a space; not null unless optional."""
    return [sa.Column(name, sa.Text, nullable=optional) for name in names.split()]


def numbers(names: str, *, optional: bool = False) -> list[sa.Column[int]]:
    """Whole numbers, names parted by a space; not null unless optional."""
    return [sa.Column(name, sa.Integer, nullable=optional) for name in names.split()]


def large_number(name: str) -> sa.Column[int]:
    """A whole number of up to 63 bits, not null."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # whose INTEGER has 64 bits
    return sa.Column(name, kind, nullable=False)


def check(name: str, condition: str) -> sa.CheckConstraint:
    """A condition on one row; null passes."""
    return sa.CheckConstraint(condition, name=name)


def one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    """The column holds one of these values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return check(f"{column}_known", f"{column} IN ({listed})")


def flag(column: str) -> sa.CheckConstraint:
    """The column holds 0 or 1."""
    return check(f"{column}_is_flag", f"{column} IN (0, 1)")


def hexadecimal(column: str, length: int) -> tuple[sa.CheckConstraint, sa.CheckConstraint]:
    """The column holds so many lower-case hexadecimal digits."""
    lite = f"length({column}) = {length} AND {column} NOT GLOB '*[^0-9a-f]*'"
    name = f"{column}_is_hex"
    return (
        check(name, lite).ddl_if("sqlite"),
        check(name, f"{column} ~ '^[0-9a-f]{{{length}}}$'").ddl_if("postgresql"),
    )


def json(column: str) -> tuple[sa.CheckConstraint, sa.CheckConstraint]:
    """The column holds JSON."""
    name = f"{column}_is_json"
    return (
        check(name, f"{column} IS NULL OR json_valid({column})").ddl_if("sqlite"),
        # The cast refuses what is no JSON.
        check(name, f"{column} IS NULL OR ({column}::json) IS NOT NULL").ddl_if("postgresql"),
    )


def refers(columns: str, target: str, referred: str) -> sa.ForeignKeyConstraint:
    """Columns, names parted by a space, to those of another table."""
    targets = [f"{target}.{column}" for column in referred.split()]
    return sa.ForeignKeyConstraint(columns.split(), targets)


def unique(*keys: str) -> list[sa.UniqueConstraint]:
    """No two rows agree in all columns of a key, their names parted by a space."""
    return [sa.UniqueConstraint(*columns.split()) for columns in keys]


study = table(
    "study",
    sa.Column("id", sa.Text, primary_key=True),
    *texts("title seed status"),
    *numbers("is_demo"),
    *texts("config_json"),
    *texts("config_sha256 key_sha256 key_nonce", optional=True),
    *numbers("votes_per_pair"),
    *texts("created_at"),
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
    sa.PrimaryKeyConstraint("study_id", "key"),
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
    *numbers("source_row"),
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
    *texts("study_id"),
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
    *numbers("image_id"),
    *texts("reward"),
    sa.Column("value", sa.REAL().with_variant(sa.Double(), "postgresql"), nullable=False),
    sa.PrimaryKeyConstraint("image_id", "reward"),
    refers("image_id", "image", "id"),
)

pair = table(
    "pair",
    row_id(),
    *texts("study_id"),
    *numbers("prompt_id"),
    large_number("seed"),
    *numbers("arm_a arm_b image_a image_b"),
    *texts("kind"),
    *texts("expected", optional=True),
    *numbers("target", optional=True),
    *numbers("issued"),
    *texts("struck", optional=True),
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
    *texts("study_id"),
    *numbers("number"),
    *texts("source"),
    *texts("ext_hmac", optional=True),
    *texts("token_sha256"),
    *texts("consent_version consented_at", optional=True),
    *texts("status"),
    *texts("completion_code", optional=True),
    *texts("created_at"),
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
    *texts("study_id"),
    *numbers("number"),
    *texts("origin"),
    *numbers("rater_id", optional=True),
    *texts("taken_at", optional=True),
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
    *texts("study_id"),
    *numbers("pair_id rep"),
    *texts("left_is"),
    sa.PrimaryKeyConstraint("block_id", "position"),
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
sa.Index(
    "uq_trial_one_open_per_rater",
    trial.c.rater_id,
    unique=True,
    sqlite_where=_is_open,
    postgresql_where=_is_open,
)
sa.Index("ix_trial_pair_id", trial.c.pair_id)

vote = table(
    "vote",
    row_id(),
    *texts("study_id"),
    *numbers("trial_id"),
    *texts("question_key choice raw_side"),
    *texts("tie_reason", optional=True),
    *numbers("rt_ms"),
    *numbers("viewport_width viewport_height picture_size", optional=True),
    *texts("created_at"),
    *texts("previous", optional=True),
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
    sa.Column("study_id", sa.Text, primary_key=True),
    *numbers("num_votes"),
    *texts("head"),
    refers("study_id", "study", "id"),
    check("num_votes_not_negative", "num_votes >= 0"),
    *hexadecimal("head", 64),
)

exclusion = table(
    "exclusion",
    row_id(),
    *texts("study_id"),
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
    sa.Column("rater_id", sa.Integer, primary_key=True, autoincrement=False),
    *texts("external_id"),
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
