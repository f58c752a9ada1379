"""A job of Hugging Face: the command that is shown and the job that is run are the same."""

import json
import shlex
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from huggingface_hub.cli.hf import app as hf

from rocm.errors import ConfigError, MissingFile
from rocm.runs.jobs import NO_OWNER, PRICES, JobPlan, quota_words

COMMAND = "python -m rocm train tiny-rocm-kl --beta 0.5"
PLAN = JobPlan("me/space", COMMAND, "tiny-rocm-kl-20261130-0a1b", "ada", "t4-small", 2)


@pytest.fixture
def hub(monkeypatch):
    """Answers as the hub does; gives the jobs that it was asked to run."""
    jobs = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, content, status=200):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if self.headers["Authorization"] != "Bearer hf_ada":
                return self.answer({}, 401)
            if self.path.endswith("/quota"):
                return self.answer({"base": 300.0, "current": 252.0, "resetsAt": None})
            return self.answer({"name": "ada", "type": "user"})

        def do_POST(self):
            jobs.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            made = {"id": "j1", "owner": {"id": "1", "name": "ada", "type": "user"}}
            self.answer({**made, "createdAt": None, "status": {"stage": "RUNNING"}})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield jobs
    server.shutdown()
    server.server_close()


def test_the_command_and_the_button_ask_for_the_same_job(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ada")
    assert PLAN.start("hf_ada").endswith("/jobs/ada/j1")
    words = shlex.split(PLAN.shell())
    told = CliRunner().invoke(hf, [*words[1:3], "--detach", *words[3:]])
    assert told.exit_code == 0, told.output
    by_button, by_command = hub
    assert by_button == by_command
    assert by_button["timeoutSeconds"] == 7200
    assert COMMAND in by_button["command"][-1]


def test_the_trainer_is_stopped_before_the_job_is(hub):
    PLAN.start("hf_ada")
    words = hub[0]["command"][-1].split()
    minutes = int(words[words.index("-s") + 2].removesuffix("m"))
    assert 60 * minutes < hub[0]["timeoutSeconds"]


def test_no_job_and_no_quota_without_a_login(hub):
    assert "252 of 300 seconds" in quota_words("hf_ada")
    for ask in (PLAN.start, quota_words):
        with pytest.raises(MissingFile, match="login"):
            ask("hf_other")
    assert not hub


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
