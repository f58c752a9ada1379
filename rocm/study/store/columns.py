"""Kinds of columns and constraints that both databases accept, every constraint with a name."""

from typing import Any

import sqlalchemy as sa

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


def text(name: str, *, optional: bool = False) -> sa.Column[str]:
    """A text; not null unless optional."""
    return sa.Column(name, sa.Text, nullable=optional)


def number(name: str, *, optional: bool = False) -> sa.Column[int]:
    """A whole number; not null unless optional."""
    return sa.Column(name, sa.Integer, nullable=optional)


def texts(names: str, *, optional: bool = False) -> list[sa.Column[str]]:
    """Texts, names parted by a space."""
    return [text(name, optional=optional) for name in names.split()]


def numbers(names: str, *, optional: bool = False) -> list[sa.Column[int]]:
    """Whole numbers, names parted by a space."""
    return [number(name, optional=optional) for name in names.split()]


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
