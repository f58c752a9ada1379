"""What a user can name is in the docs, and what the docs name exists."""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from rocm.algorithms.divergences import DIVERGENCES
from rocm.config import RunConfig
from rocm.config.algorithms import ALGORITHMS
from rocm.config.presets import preset_names
from rocm.config.run_config import choices
from rocm.rewards.files import PUBLISHED
from rocm.rewards.names import NAMES
from rocm.runs.run_dir import RunDir
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


def spelt_out(row: str) -> list[str]:
    """The names that a row with braces stands for, as a shell spells them out."""
    parts = [part.split(",") for part in re.split(r"[{}]", row)]
    return ["".join(chosen) for chosen in product(*parts)]


def test_every_preset_is_described():
    section = read("docs/settings.md").split("## Presets")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9{},-]+)` ", section, re.M)
    documented = {name for row in rows for name in spelt_out(row)}
    assert documented == set(preset_names())


def test_every_divergence_has_its_formula():
    table = read("docs/math.md").split("## Divergences")[1].split("### Reductions")[0]
    assert set(re.findall(r"^\| `(\w+)` ", table, re.M)) == set(DIVERGENCES)


def test_every_choice_of_the_objective_is_explained():
    text = read("docs/math.md")
    for setting in (
        "reduction",
        "last_step",
        "ref_grad",
        "js_estimator",
        "backprop",
        "grid",
        "algorithm",
        "policy_loss",
        "sampler",
    ):
        missing = [choice for choice in choices(setting) if f"`{choice}`" not in text]
        assert not missing, f"{setting}: {missing}"


def test_every_reward_is_described():
    section = read("docs/settings.md").split("## Rewards")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]*) \|", section, re.M)
    assert set(re.findall(r"`([\w.-]+)`", " ".join(rows))) == set(NAMES)


def test_every_published_reward_has_its_row():
    tables = read("docs/rewards.md").split("## Files")[0]
    for column in (r"^\| `([\w.]+)` \|", r"^\| (.*`) \| yes"):
        rows = " ".join(re.findall(column, tables, re.M))
        assert set(re.findall(r"[\w.]+", rows)) == set(PUBLISHED)


def test_every_command_has_its_example():
    examples = set(re.findall(r"^python -m rocm (\w+)", read("README.md"), re.M))
    help_text = subprocess.check_output([sys.executable, "-m", "rocm", "--help"], text=True)
    assert examples == set(re.findall(r"^    (\w+)(?: |$)", help_text, re.M))


def test_every_metric_of_a_run_is_described(tmp_path, tiny_pipeline_dir):
    names = re.findall(r"^\| `([\w/<>]+)` ", read("docs/metrics.md").split("## Warnings")[0], re.M)
    patterns = [name.replace("<i>", r"\d+").replace("<name>", r"[\w.-]+") for name in names]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\nthree\nfour\n")
    measured = set()
    for algorithm in ALGORITHMS:
        measured |= measured_by(algorithm, tmp_path, str(prompts), str(tiny_pipeline_dir))
    described = {name for name in measured if any(re.fullmatch(p, name) for p in patterns)}
    assert measured == described
    assert all(any(re.fullmatch(p, name) for name in measured) for p in patterns)


def measured_by(algorithm, folder, prompts, model):
    config = RunConfig(
        algorithm=algorithm,
        prompts=prompts,
        model=model,
        num_steps=1,
        num_inference_steps=2,
        num_eval_prompts=2,
        track="saturation",
        judge="smoothness",
        device="cpu",
        **BY_ALGORITHM.get(algorithm, {}),
    )
    run = RunDir.create(folder / algorithm, config)
    list(train(run))
    return {name for row in run.metrics() for name in row}


def test_every_environment_variable_is_described():
    sources = [ROOT / "app.py", *(ROOT / "rocm").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    named = set(re.findall(r"\bROCM_[A-Z_]+\b", "".join(path.read_text() for path in sources)))
    documented = set(re.findall(r"^\| `(ROCM_[A-Z_]+)` ", read("docs/settings.md"), re.M))
    assert documented == named


def test_every_chosen_answer_names_settings_that_exist():
    table = read("docs/math.md").split("## Not given in the paper")[1].split("## Departures")[0]
    rows = re.findall(r"^\| .* \| ([^|]*) \|$", table, re.M)
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert named
    assert named <= set(RunConfig.model_fields)


@pytest.mark.parametrize(
    "path", ["README.md", *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))]
)
def test_relative_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", read(path)):
        assert (ROOT / path).parent.joinpath(target).exists(), f"{path} links to {target}"


def test_front_matter_agrees_with_the_requirements():
    version = re.search(r"^sdk_version: ([\d.]+)$", read("README.md"), re.M).group(1)
    assert f"gradio>={'.'.join(version.split('.')[:2])}" in read("requirements.txt")
