"""The examples of docs/extending.md: each block runs, and a run trains with it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from rocm.algorithms.divergences import DIVERGENCES
from rocm.config import RunConfig, algorithms, generation, objective
from rocm.models.load import LOADERS
from rocm.prompts.split import SOURCES
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.training.loop import train
from rocm.training.policy_update import LOSSES
from tests.tiny_pipeline import random_diffusion

MAX_LINES = 40
TABLES: list[Any] = [DIVERGENCES, algorithms.ALGORITHMS, LOADERS, SOURCES, LOSSES]
LISTS = [generation.SAMPLERS, objective.DIVERGENCES]
SECTIONS = re.split(r"^## ", (ROOT / "docs/extending.md").read_text("utf-8"), flags=re.M)[1:]


@pytest.fixture(autouse=True)
def tables_as_before():
    kept = [(one, dict(one)) for one in TABLES] + [(one, list(one)) for one in LISTS]
    yield
    for table, before in kept:
        table.clear()
        table.update(before) if isinstance(table, dict) else table.extend(before)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.splitlines()[0])
def test_an_example_trains(section, small_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", section, re.S)
    assert sum(len(code.splitlines()) for _, code in blocks) <= MAX_LINES
    for place, code in blocks:
        if "/" in place:
            assert (ROOT / place).is_file()
            exec(compile(code, place, "exec"), {"__name__": "example"})
        else:
            Path(place).write_text(code, encoding="utf-8")
    (command,) = re.findall(r"```bash\npython -m rocm train (.*?)\n```", section, re.S)
    preset, *flags = shlex.split(command)
    named = dict(zip(flags[::2], flags[1::2], strict=True))
    settings = {flag.removeprefix("--").replace("-", "_"): text for flag, text in named.items()}
    if "model" in settings:
        random_diffusion(seed=0).save_pretrained(tmp_path / "diffusion")
        settings["model"] = str(tmp_path / "diffusion")
    RunConfig.load(preset, **settings)
    algorithm = {"algorithm": RunConfig.load(preset).algorithm}
    run = RunDir.create(tmp_path / "run", small_config(**algorithm | {"num_steps": 1} | settings))
    rows = [progress.row for progress in train(run)]
    assert [row["step"] for row in rows] == [0, 1]
    assert rows[1]["grad_norm"] > 0
