"""Votes are chained; those that are there become the beginning of the chain, marked by an event."""

from alembic import op

from rocm.study.store import chain
from rocm.study.store.database import Writing

revision = "0003"
down_revision = "0002"

IS_HEX = {
    "sqlite": "length({0}) = 64 AND {0} NOT GLOB '*[^0-9a-f]*'",
    "postgresql": "{0} ~ '^[0-9a-f]{{64}}$'",
}
STRICT = {"sqlite": " STRICT", "postgresql": ""}


def upgrade() -> None:
    """Add the column and the table, and chain every vote."""
    connection = op.get_bind()
    name = connection.dialect.name
    is_hex = IS_HEX[name].format
    connection.exec_driver_sql(
        "ALTER TABLE vote ADD COLUMN previous TEXT "
        f"CONSTRAINT ck_vote_previous_is_hex CHECK ({is_hex('previous')})"
    )
    connection.exec_driver_sql(
        "CREATE TABLE chain (study_id TEXT NOT NULL, num_votes INTEGER NOT NULL, "
        "head TEXT NOT NULL, CONSTRAINT pk_chain PRIMARY KEY (study_id), "
        "CONSTRAINT fk_chain_study_id FOREIGN KEY(study_id) REFERENCES study (id), "
        "CONSTRAINT ck_chain_num_votes_not_negative CHECK (num_votes >= 0), "
        f"CONSTRAINT ck_chain_head_is_hex CHECK ({is_hex('head')})){STRICT[name]}"
    )
    chain.adopt_all(Writing(connection))
