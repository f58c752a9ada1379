"""Rules that constraints cannot say: each guard is a condition, true of rows to refuse."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from rocm.study.store import tables

FROZEN = ("question", "prompt", "arm", "image", "pair")


@dataclass(frozen=True)
class Guard:
    """Refuses rows for which a condition holds, on NEW and OLD in SQL of both databases."""

    name: str
    table: str
    action: Literal["INSERT", "UPDATE", "DELETE"]
    condition: str
    message: str

    def sqlite(self) -> list[str]:
        """Statements that make the guard on SQLite."""
        return [
            f"CREATE TRIGGER {self.name} BEFORE {self.action} ON {self.table} "
            f"WHEN {self.condition} BEGIN SELECT RAISE(ABORT, '{self.message}'); END"
        ]

    @property
    def body(self) -> str:
        """Of the function on PostgreSQL."""
        return (
            f" BEGIN IF ({self.condition}) THEN "
            f"RAISE EXCEPTION '{self.message}' USING ERRCODE = 'integrity_constraint_violation'; "
            "END IF; RETURN COALESCE(NEW, OLD); END "
        )

    def postgresql(self) -> list[str]:
        """Statements that make the guard on PostgreSQL."""
        return [
            f"CREATE FUNCTION {self.name}() RETURNS trigger AS $${self.body}$$ LANGUAGE plpgsql",
            f"CREATE TRIGGER {self.name} BEFORE {self.action} ON {self.table} "
            f"FOR EACH ROW EXECUTE FUNCTION {self.name}()",
        ]


def _changed(*columns: str) -> str:
    return " OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in columns)


def _changed_but(table: str, *free: str) -> str:
    columns = tables.metadata.tables[table].columns
    return _changed(*(column.name for column in columns if column.name not in free))


def _frozen(row: str) -> str:
    return f"(SELECT status FROM study WHERE id = {row}.study_id) <> 'draft'"


def guards() -> Iterator[Guard]:
    """Every guard of the schema."""
    yield from _append_only()
    yield from _freezing()
    yield from _states()
    yield from _votes()


def _append_only() -> Iterator[Guard]:
    for table in ("vote", "event"):
        why = f"{table}s are append-only"
        yield Guard(f"{table}_no_update", table, "UPDATE", "1 = 1", why)
        # Those of a draft, its pilots', go with it when it is deleted.
        yield Guard(f"{table}_no_delete", table, "DELETE", _frozen("OLD"), why)
    yield Guard("chain_no_delete", "chain", "DELETE", _frozen("OLD"), "votes stay chained")
    shrinks = "NEW.num_votes < OLD.num_votes"
    yield Guard("chain_grows", "chain", "UPDATE", shrinks, "a chain of votes only grows")


def _freezing() -> Iterator[Guard]:
    why = "the study is frozen"
    # Of an arm, what the key says may be filled in later: it stays behind when a study travels.
    key = ("name", "method", "reward", "base_model", "adapter_sha256", "params_json")
    for table in FROZEN:
        once = key if table == "arm" else ()
        free = ("issued", "target") if table == "pair" else ()
        known = "".join(f" OR (OLD.{name} IS NOT NULL AND ({_changed(name)}))" for name in once)
        change = f"{_frozen('OLD')} AND ({_changed_but(table, *once, *free)}{known})"
        yield Guard(f"{table}_frozen_insert", table, "INSERT", _frozen("NEW"), why)
        yield Guard(f"{table}_frozen_update", table, "UPDATE", change, why)
        yield Guard(f"{table}_frozen_delete", table, "DELETE", _frozen("OLD"), why)
    design = _changed_but("study", "status", "closed_at", "key_nonce")
    yield Guard("study_frozen", "study", "UPDATE", f"OLD.status <> 'draft' AND ({design})", why)
    planned = "a plan is not changed once it is open"
    yield Guard("slot_no_update", "slot", "UPDATE", _frozen("OLD"), planned)
    yield Guard(
        "slot_not_struck",
        "slot",
        "INSERT",
        "(SELECT struck FROM pair WHERE id = NEW.pair_id) IS NOT NULL",
        "the pair was struck",
    )


def _states() -> Iterator[Guard]:
    allowed = {
        "study": "draft>open open>paused paused>open open>closed paused>closed",
        "trial": "issued>done issued>skipped issued>expired expired>issued expired>done",
        "rater": "active>complete active>screened_out active>withdrawn complete>withdrawn",
    }
    columns = {"study": "status", "trial": "state", "rater": "status"}
    for table, steps in allowed.items():
        column = columns[table]
        listed = ", ".join(f"'{step}'" for step in steps.split())
        yield Guard(
            f"{table}_steps",
            table,
            "UPDATE",
            f"NEW.{column} <> OLD.{column} "
            f"AND OLD.{column} || '>' || NEW.{column} NOT IN ({listed})",
            f"a {table} does not go that way",
        )
    fixed = _changed_but("trial", "state", "lease_until", "shown_at", "done_at")
    yield Guard("trial_fixed", "trial", "UPDATE", fixed, "a trial keeps what it shows")
    taken = f"OLD.rater_id IS NOT NULL AND ({_changed('rater_id', 'taken_at')})"
    yield Guard("block_taken_once", "block", "UPDATE", taken, "a block is taken once")
    yield Guard(
        "trial_of_a_running_study",
        "trial",
        "INSERT",
        "(SELECT status FROM study WHERE id = NEW.study_id) = 'closed' OR ("
        "(SELECT status FROM study WHERE id = NEW.study_id) <> 'open' AND "
        "(SELECT source FROM rater WHERE id = NEW.rater_id) <> 'pilot')",
        "the study is not open",
    )
    yield Guard(
        "trial_needs_consent",
        "trial",
        "INSERT",
        "(SELECT consented_at FROM rater WHERE id = NEW.rater_id) IS NULL OR "
        "(SELECT status FROM rater WHERE id = NEW.rater_id) <> 'active'",
        "the rater has not consented, or has left",
    )


def _votes() -> Iterator[Guard]:
    trial = "(SELECT {} FROM trial WHERE id = NEW.trial_id)"
    left_is, state = trial.format("left_is"), trial.format("state")
    seen = f"CASE NEW.raw_side WHEN 'tie' THEN 'tie' WHEN 'left' THEN {left_is} ELSE "
    seen += f"(CASE {left_is} WHEN 'a' THEN 'b' ELSE 'a' END) END"
    yield Guard(
        "vote_is_what_was_clicked",
        "vote",
        "INSERT",
        f"NEW.choice <> {seen}",
        "the choice is not what the side says",
    )
    undone = f"{state} <> 'done'"
    yield Guard("vote_of_a_done_trial", "vote", "INSERT", undone, "the trial is not done")
    yield Guard(
        "vote_tie_allowed",
        "vote",
        "INSERT",
        "NEW.choice = 'tie' AND (SELECT allow_tie FROM question WHERE study_id = NEW.study_id "
        "AND key = NEW.question_key) = 0",
        "the question allows no tie",
    )


@contextmanager
def lifted(connection: Connection) -> Iterator[None]:
    """No guards until the block ends, in the caller's transaction: nobody ever writes without."""
    dialect = connection.dialect.name
    for statement in removal(dialect):
        connection.exec_driver_sql(statement)
    yield
    for statement in (*removal(dialect), *statements(dialect)):  # a block may lift them too
        connection.exec_driver_sql(statement)


def faults(connection: Connection) -> list[str]:
    """Guards that the database lacks or has in another form, and triggers of others."""
    if connection.dialect.name == "sqlite":
        triggers = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        )
        expected = {guard.name: guard.sqlite()[0] for guard in guards()}
    else:
        triggers = connection.exec_driver_sql(
            "SELECT t.tgname, CASE WHEN t.tgenabled = 'O' THEN c.relname || ' ' || p.prosrc END "
            "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON "
            "p.oid = t.tgfoid WHERE NOT t.tgisinternal AND c.relnamespace = to_regnamespace("
            "current_schema())::oid"
        )
        expected = {guard.name: f"{guard.table} {guard.body}" for guard in guards()}
    there = {name: text for name, text in triggers}
    wrong = sorted(name for name in expected if there.get(name) != expected[name])
    foreign = sorted(set(there) - set(expected))
    return [f"Trigger {name} is missing or was changed." for name in wrong] + [
        f"Trigger {name} is not the program's." for name in foreign
    ]


def statements(dialect: str) -> list[str]:
    """SQL that makes every guard, for `sqlite` or `postgresql`."""
    return [text for guard in guards() for text in getattr(guard, dialect)()]


def removal(dialect: str) -> list[str]:
    """SQL that takes every guard away, to be made again in the same transaction."""
    if dialect == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {guard.name}" for guard in guards()]
    return [f"DROP FUNCTION IF EXISTS {guard.name}() CASCADE" for guard in guards()]
