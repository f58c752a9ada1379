"""A job of Hugging Face: the command that is shown and the job that is run are the same."""

import shlex

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from huggingface_hub.cli.hf import app as hf

from rocm.errors import ConfigError, MissingFile
from rocm.runs.jobs import NO_OWNER, PRICES, JobPlan, quota_words
from tests.hub_server import serving

COMMAND = "python -m rocm train tiny-rocm-kl --beta 0.5"
PLAN = JobPlan("me/space", COMMAND, "tiny-rocm-kl-20261130-0a1b", "ada", "t4-small", 2)


@pytest.fixture
def hub(monkeypatch):
    with serving() as hub:
        hub.token = "hf_ada"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub


def test_the_command_and_the_button_ask_for_the_same_job(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ada")
    assert PLAN.start("hf_ada").endswith("/jobs/ada/j1")
    words = shlex.split(PLAN.shell())
    told = CliRunner().invoke(hf, [*words[1:3], "--detach", *words[3:]])
    assert told.exit_code == 0, told.output
    by_button, by_command = hub.jobs
    assert by_button == by_command
    assert by_button["timeoutSeconds"] == 7200
    assert COMMAND in by_button["command"][-1]


def test_the_trainer_is_stopped_before_the_job_is(hub):
    PLAN.start("hf_ada")
    (job,) = hub.jobs
    words = job["command"][-1].split()
    minutes = int(words[words.index("-s") + 2].removesuffix("m"))
    assert 60 * minutes < job["timeoutSeconds"]


def test_no_job_and_no_quota_without_a_login(hub):
    assert "252 of 300 seconds" in quota_words("hf_ada")
    for ask in (PLAN.start, quota_words):
        with pytest.raises(MissingFile, match="login"):
            ask("hf_other")
    assert not hub.jobs


@pytest.mark.parametrize(
    ("owner", "flavor", "hours", "words"),
    [("ada", "t4", 2, "t4-small"), ("ada", "h200", 0, "1 to 24"), ("a b", "h200", 2, "account")],
)
def test_a_wrong_part_of_a_job_is_one_sentence(owner, flavor, hours, words):
    with pytest.raises(ConfigError, match=words):
        JobPlan("me/space", COMMAND, "run", owner, flavor, hours)


def test_the_highest_price_is_that_of_all_hours():
    plan = JobPlan("me/space", COMMAND, "run", "", "h200", 3)
    assert f"${3 * PRICES['h200']:.2f}" in plan.price()
    assert NO_OWNER in plan.shell()
