"""Votes and events of a draft may be deleted with it; of a study that was opened, never.

Triggers are made anew at each upgrade, so there is nothing to do here.
"""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Change no table."""
