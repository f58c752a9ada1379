import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def scratch():
    """A folder that is emptied at once: its checkpoints have gigabytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
