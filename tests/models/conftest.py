from pathlib import Path

import pytest

from tests.families import save_families


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """The parts of every family of models; treat them as read-only."""
    return save_families(tmp_path_factory.mktemp("models"))
