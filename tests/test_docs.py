"""What a user can name is in the docs, and what the docs name exists."""

import re
from itertools import product
from pathlib import Path

import pytest

from rocm.config.algorithms import ALGORITHMS
from rocm.config.presets import preset_names
from rocm.rewards.names import NAMES, TASTE
from rocm.training.loop import train
from scripts import settings_table

PAIRS = {"pictures_per_prompt": 2, "batch_size": 2}
BY_ALGORITHM = {"d3po": PAIRS, "hybrid": PAIRS | {"reward": "compressibility"}}
ROOT = Path(__file__).resolve().parent.parent


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_settings_tables_are_those_of_the_code():
    text = read("docs/settings.md")
    assert text == settings_table.document(text), "Run: python -m scripts.settings_table"


def spelled_out(row: str) -> list[str]:
    """The names that a row with braces stands for, as a shell spells them out."""
    parts = [part.split(",") for part in re.split(r"[{}]", row)]
    return ["".join(chosen) for chosen in product(*parts)]


def test_every_preset_is_described():
    section = read("docs/settings.md").split("## Presets")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9{},-]+)` ", section, re.M)
    documented = {name for row in rows for name in spelled_out(row)}
    assert documented == set(preset_names())


def test_every_reward_is_described():
    section = read("docs/settings.md").split("## Rewards")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]*) \|", section, re.M)
    assert set(re.findall(r"`([\w.-]+)`", " ".join(rows))) == {*NAMES, TASTE}


def test_every_metric_of_a_run_is_described(new_run):
    names = re.findall(r"^\| `([\w/<>]+)` ", read("docs/metrics.md").split("## Warnings")[0], re.M)
    patterns = [name.replace("<i>", r"\d+").replace("<name>", r"[\w.-]+") for name in names]
    measured = set()
    for algorithm in ALGORITHMS:
        settings = {"algorithm": algorithm, "num_steps": 1, "judge": "smoothness"}
        settings |= {"audit": "tiny-clip", "beta": "auto", "kl_budget": 1.0}
        run = new_run(algorithm, **settings | BY_ALGORITHM.get(algorithm, {}))
        list(train(run))
        measured |= {name for row in run.metrics() for name in row}
    described = {name for name in measured if any(re.fullmatch(p, name) for p in patterns)}
    assert measured == described
    assert all(any(re.fullmatch(p, name) for name in measured) for p in patterns)


def test_every_environment_variable_is_described():
    sources = [ROOT / "app.py", *(ROOT / "rocm").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    named = set(re.findall(r"\bROCM_[A-Z_]+\b", "".join(path.read_text() for path in sources)))
    documented = set(re.findall(r"^\| `(ROCM_[A-Z_]+)` ", read("docs/settings.md"), re.M))
    assert documented == named


@pytest.mark.parametrize(
    "path", ["README.md", *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))]
)
def test_relative_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", read(path)):
        assert (ROOT / path).parent.joinpath(target).exists(), f"{path} links to {target}"
