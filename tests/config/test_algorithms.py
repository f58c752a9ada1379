"""One table says what an algorithm needs, and no other file asks for an algorithm by name."""

import re

from rocm.algorithms.divergences import DIVERGENCES
from rocm.config import generation, objective
from rocm.config.algorithms import ALGORITHMS
from rocm.models.load import LOADERS
from rocm.storage.paths import ROOT
from rocm.training.policy_update import ADVANTAGES, LOSSES

NAMES = "|".join([*ALGORITHMS, "rebel", "ppo"])
COMPARED = re.compile(
    rf"\b(algorithm|policy_loss)\b\)?\s*(==|!=|in\b|not in\b)|[=!]=\s*\"({NAMES})\"\s*[:)]"
)


def test_no_other_file_compares_an_algorithm_with_a_name():
    files = [path for path in (ROOT / "rocm").rglob("*.py") if path.name != "algorithms.py"]
    guilty = {
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if COMPARED.search(line) and "for algorithm in" not in line and "grid ==" not in line
    }
    assert guilty == set()


def test_every_loss_and_advantage_of_the_table_exists():
    entries = [*ALGORITHMS.values(), *ALGORITHMS["rlcm"].variants.values()]
    estimated = [one for one in entries if not one.is_backprop]
    assert {one.loss for one in estimated} == set(LOSSES)
    assert {one.advantages for one in estimated} == set(ADVANTAGES)


def test_the_names_without_torch_are_those_of_the_functions():
    assert set(objective.DIVERGENCES) == set(DIVERGENCES)
    assert set(generation.SAMPLERS) == set(LOADERS)
