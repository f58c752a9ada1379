"""A server that only collects votes needs requirements-vote.txt and nothing else."""

import os
import socket
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import httpx2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rocm.storage.paths import ROOT
from rocm.study.archive.pack import pack, unpack
from rocm.study.design import lifecycle
from rocm.study.store.pictures import Pictures
from tests.study.server.conftest import Visitor, fill
from tests.study.small import STUDY


def required(file):
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return {line for line in lines if line}


def installed(lines):
    """Names of the packages that pip installs for some lines, by the metadata of those here."""
    names, left = set(), [Requirement(line) for line in lines]
    while left:
        one = left.pop()
        if (name := canonicalize_name(one.name)) in names and not one.extras:
            continue
        names.add(name)
        needs = [Requirement(line) for line in requires(name) or ()]
        extras = [{"extra": extra} for extra in ("", *one.extras)]
        left += [
            need for need in needs if not need.marker or any(map(need.marker.evaluate, extras))
        ]
    return names


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Starts Python in the project, as if only requirements-vote.txt were installed."""
    home = tmp_path_factory.mktemp("votes")
    kept = installed(required("requirements-vote.txt"))
    absent = {
        module
        for module, packages in packages_distributions().items()
        if not kept & set(map(canonicalize_name, packages))
    }
    absent -= sys.stdlib_module_names
    assert {"torch", "gradio", "plotly", "diffusers", "transformers", "pandas", "numpy"} <= absent
    (home / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({absent}))\n"
    )

    def start(*arguments, **settings):
        paths = {"PYTHONPATH": str(home), "ROCM_HOME": str(home)}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **paths, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def test_every_line_is_one_of_requirements_txt():
    assert required("requirements-vote.txt") <= required("requirements.txt")


@pytest.mark.slow
def test_a_study_is_unpacked_voted_on_and_sent_back(run, store, tmp_path):
    def study(*words):
        process = run("-m", "rocm", "study", *words)
        told, _ = process.communicate()
        assert process.returncode == 0, told
        return told

    pictures = Pictures(tmp_path / "pictures")
    fill(store, pictures.folder)
    lifecycle.open_study(store, STUDY)
    there, back = tmp_path / "study.zip", tmp_path / "back" / "votes.zip"
    back.parent.mkdir()
    pack(store, pictures, STUDY, there)
    study("unpack", str(there))
    port = free_port()
    server = run("app.py", "--mode", "study", PORT=str(port), GRADIO_SERVER_NAME="127.0.0.1")
    try:
        transport = httpx2.HTTPTransport(retries=8)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", transport=transport) as client:
            visitor = Visitor(client)
            visitor.agree()
            trial = visitor.step("trial")["trial"]
            picture = client.get(f"/study/{trial['left']}")
            visitor.work()
    finally:
        server.terminate()
        server.communicate()
    assert picture.headers["content-type"] == "image/webp"
    for action in ("status", "pairs", "invite", "pause", "resume", "verify", "close"):
        study(action, STUDY)
    assert "key" not in study("pack", STUDY, "--votes", "--to", str(back))
    assert not store.votes(STUDY)
    unpack(store, pictures, back)
    assert len(store.votes(STUDY)) == 5 * 3  # a practice pair, three main pairs and a check


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("app.py --mode lab", 1), ("-m rocm sample cat", 2), ("-m rocm doctor", 2)],
)
def test_what_needs_more_ends_in_a_sentence(run, arguments, code):
    process = run(*arguments.split(), PORT=str(free_port()))
    told, _ = process.communicate()
    assert process.returncode == code
    assert "not installed" in told
    assert "pip install -r requirements.txt" in told
    assert "Traceback" not in told
