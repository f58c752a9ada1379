"""Help and errors that need no network import no heavy library."""

import json
import os
import subprocess
import sys

from rocm.cli.main import COMMANDS
from rocm.storage.paths import ROOT

HEAVY = (
    *("torch", "torchvision", "diffusers", "transformers", "peft", "open_clip"),
    *("gradio", "plotly", "fastapi", "scipy", "statsmodels", "pandas", "pyarrow", "sqlalchemy"),
)
ACTIONS = {
    "study": "build status pairs strike power delete bin restore empty-bin open pause resume close "
    "simulate add-raters invite pack unpack verify erase forget-payments export report",
    "runs": "list rename note stop resume continue repair delete bin restore empty-bin export",
    "queue": "list add move cancel",
}
ERRORS = [
    ["train", "no-preset"],
    ["train", "tiny-rocm-kl", "--beta", "-1"],
    ["train", "--resume", "nowhere"],
    ["sample", ""],
    ["sample", "a cat", "--adapter", "nowhere"],
    ["sample", "a cat", "--guidance-scale", "x"],
    ["evaluate", "nowhere"],
    ["evaluate", "--prompts", "none.txt"],
    ["retrieval", "--model", "nowhere"],
    ["retrieval", "--seeds", "0"],
    ["runs", "rename", "nowhere", "x"],
    ["queue", "add", "no-preset"],
    ["sweep", "no-preset", "--grid", "beta=1"],
    ["export", "nowhere", "--out", "out"],
    ["download", "nowhere"],
    ["rewards", "--download", "nothing"],
    ["bench", "step", "--rounds", "0"],
    ["bench", "step", "--preset", "no-preset"],
    ["reproduce", "tiny", "--seconds-per-run", "0"],
]
CODE = """
import contextlib, io, json, sys
from rocm.cli.main import main
heavy = json.loads(sys.argv[1])
for words in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main(words)
        except SystemExit as leaving:
            code = leaving.code
    wanted = 0 if words[-1] == "--help" else 2
    loaded = [name for name in heavy if name in sys.modules]
    if code != wanted or loaded:
        print(words, "ended with", code, "and has loaded", loaded)
        break
"""


def test_help_and_errors_load_no_heavy_library(tmp_path):
    commands = [[name] for name in COMMANDS]
    commands += [[name, action] for name in ACTIONS for action in ACTIONS[name].split()]
    calls = [["--help"], *([*command, "--help"] for command in commands), *ERRORS]
    answer = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(HEAVY), json.dumps(calls)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert not answer.stdout
