"""Claims follow the figures, and turn when the figures turn."""

import json
import re

import pytest
from PIL import Image

from rocm.experiments.reproduce.plan import BETAS, METHODS, make_plan
from rocm.experiments.reproduce.report import Findings
from rocm.experiments.reproduce.results import (
    End,
    best_learning_rates,
    cell_of,
    claims,
    difference,
    is_raised,
)

JUDGE = "tiny-judge"
PLAN = make_plan(45, 192, is_quick=False)


def cell(reward, judge, num_seeds=3):
    ends = [
        End(5, 40.0, {"reward": [reward + wobble + seed / 100 for wobble in (-0.01, 0, 0.01)],
                      JUDGE: [judge + seed / 100] * 3}, {"eval/diversity": 0.4})
        for seed in range(num_seeds)
    ]  # fmt: skip
    return cell_of(ends)


def cells(**changed):
    found = {}
    for method in METHODS:
        reward = {"divergence": 1.0, "first-order": 3.0, "policy gradient": 0.5}[method.kind]
        judge = {"divergence": -0.1, "first-order": -0.8, "policy gradient": -0.1}[method.kind]
        found[method.key] = cell(reward, judge)
    found["rocm-js"] = cell(1.0, -0.05)
    return found | changed


def betas(*judges):
    return {beta: cell(1.0, judge) for beta, judge in zip(BETAS, judges, strict=True)}


PEAKED = betas(-0.8, -0.1, 0.1, 0.2, 0.1, 0.0)


def test_a_reward_is_raised_if_the_paired_interval_lies_above_0():
    assert is_raised([0.9, 1.0, 1.1])
    assert not is_raised([-1.0, 0.5, 1.1])
    assert not is_raised([-0.9, -1.0, -1.1])


def test_a_cell_is_raised_in_every_seed_or_not():
    good, bad = cell(1.0, 0).ends, cell(-1.0, 0).ends
    assert cell_of(good).is_raised
    assert not cell_of([*good[:2], bad[0]]).is_raised


def test_a_difference_is_paired_by_seed():
    found = difference(cell(2.0, 0), cell(0.5, 0), "reward")
    assert found.mean == pytest.approx(1.5)
    assert found.high - found.low < 1e-6


@pytest.mark.parametrize(
    ("number", "changed", "curve"),
    [
        (0, {"rlcm": cell(4.0, -0.1)}, PEAKED),
        (1, {"rocm-fisher": cell(1.0, -0.9)}, PEAKED),
        (2, {}, betas(0.3, 0.2, 0.1, 0.0, -0.1, -0.1)),
        (2, {}, betas(-0.5, -0.4, -0.3, -0.2, -0.3, -0.3)),
        (3, {"rocm-js": cell(9.0, 0.5)}, PEAKED),
    ],
)
def test_a_claim_falls_with_its_figures_and_with_no_others(number, changed, curve):
    holds = [claim.holds for claim in claims({"seconds": cells()}, PEAKED, JUDGE)]
    assert holds == [True] * 4
    turned = [claim.holds for claim in claims({"seconds": cells(**changed)}, curve, JUDGE)]
    assert turned == [index != number for index in range(4)]


def test_a_rate_is_chosen_by_what_a_method_maximizes():
    rates = {job.name: job.config.learning_rate for job in PLAN.tuning()}
    # A larger rate has more reward at more divergence.
    ends = {name: End(5, 40.0, {"reward": [rate]}, {}, rate) for name, rate in rates.items()}
    chosen = best_learning_rates(PLAN, ends)
    for method in METHODS:
        own = [job.config for job in PLAN.tuning() if job.method == method]
        best = min if float(own[0].beta) > 1 else max
        assert chosen[method.key] == best(config.learning_rate for config in own)


@pytest.fixture
def findings(tmp_path):
    picture = tmp_path / "picture.png"
    Image.new("RGB", (16, 16), "red").save(picture)
    cost = {"seconds": 1.0, "reward_queries": 4, "unet_forward": 32}
    rows = [{"step": 0}, *({"step": k, "reward": k / 5, **cost} for k in (1, 2, 3))]
    tuning = {"method": "RLCM", "learning_rate": 1e-3, "seed": 1000, "is_chosen": True}
    tuning |= {"objective": 1}
    measures = {name: cells() for name in PLAN.budget}
    return Findings(
        plan=PLAN,
        chosen={method.key: 1e-3 for method in METHODS},
        tuning=[tuning],
        cells=measures,
        betas=PEAKED,
        second={"rocm-kl": cell(1.0, 0.1), "rlcm": cell(0.5, 0.1)},
        claims=claims(measures, PEAKED, JUDGE),
        rows={method.key: [rows, rows] for method in METHODS},
        pictures={"base model": [picture], "RLCM": [picture]},
        prompts=["a <b>cat</b>"],
        judge=JUDGE,
        machine="2 runs on cpu.",
    )


def test_the_report_is_one_page_that_asks_nobody(findings):
    page = findings.to_html()
    assert not re.search(r"(src|href)=.http", page)
    assert "a &lt;b&gt;cat" in page
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(data) == json.loads(findings.to_json())
    assert page == findings.to_html()
