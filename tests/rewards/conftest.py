import pytest

from tests.rewards import small


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    small.write_all(folder)
    return folder


@pytest.fixture
def weights(small_weights, monkeypatch):
    """All published rewards' files at small size, as the weights folder; treat it as read-only."""
    monkeypatch.setenv("ROCM_REWARDS", str(small_weights))
    return small_weights
