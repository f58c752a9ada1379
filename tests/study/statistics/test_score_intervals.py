import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

from rocm.study.statistics import score_intervals
from rocm.study.statistics.crossed import Components, VoteTable, fit_components
from rocm.study.statistics.outcomes import HEADLINE
from rocm.study.statistics.score_intervals import METHODS, NAIVE, Multiway
from rocm.study.statistics.simulate import Design, Utility, simulate
from scripts.coverage import DESIGNS, SCENARIOS

RECORDED = Path(__file__).parents[3] / "docs" / "data" / "coverage.json"


@pytest.fixture
def table(simulated):
    return VoteTable.of(simulated)


def test_wilson_is_that_of_statsmodels(table):
    expected = proportion_confint(table.sums.sum(), table.num_votes, method="wilson")
    found = score_intervals.wilson(table)
    assert (found.low, found.high) == pytest.approx(expected)


def test_multiway_variances_are_those_of_statsmodels(simulated, table):
    fit = sm.OLS(simulated.scores, np.ones(len(simulated))).fit()
    prompt = np.unique(simulated.prompt, return_inverse=True)[1]
    rater = np.unique(simulated.rater, return_inverse=True)[1]
    both, by_prompt, by_rater = cov_cluster_2groups(fit, prompt, rater, use_correction=True)
    cells = cov_cluster(fit, prompt * 1000 + rater, use_correction=True)
    ways = Multiway.of(table)
    # statsmodels also multiplies by (N - 1) / (N - k), which is 1 for a mean.
    assert ways.prompt == pytest.approx(by_prompt.item())
    assert ways.rater == pytest.approx(by_rater.item())
    assert ways.both == pytest.approx(cells.item())
    assert ways.prompt + ways.rater - ways.both == pytest.approx(both.item())


def test_variance_adds_what_both_ways_have_and_is_never_below_one_way():
    ways = Multiway(prompt=0.05, rater=0.04, both=0.03, num_prompts=9, num_raters=5)
    small = Multiway(prompt=0.02, rater=0.01, both=0.05, num_prompts=9, num_raters=5)
    assert (ways.variance, small.variance) == pytest.approx((0.06, 0.02))


def test_satterthwaite_is_the_way_that_alone_varies():
    raters = Multiway(prompt=0.0, rater=0.04, both=0.0, num_prompts=300, num_raters=30)
    prompts = Multiway(prompt=0.04, rater=0.01, both=0.01, num_prompts=300, num_raters=30)
    assert raters.satterthwaite_df == pytest.approx(29)
    assert prompts.satterthwaite_df == pytest.approx(299)


@pytest.mark.parametrize("seed", range(3))
def test_components_are_those_of_statsmodels_mixed_model(seed):
    utility = Utility(prompt_sd=1.0, rater_sd=1.0)
    rng = np.random.default_rng(seed)
    votes = simulate(Design(15, 8, 4), {("c", "q"): utility}, rng)
    data = pd.DataFrame({"y": votes.scores, "p": votes.prompt, "r": votes.rater, "all": 1})
    model = sm.MixedLM.from_formula(
        "y ~ 1", groups="all", vc_formula={"p": "0 + C(p)", "r": "0 + C(r)"}, data=data
    )
    fit = model.fit(reml=True)
    ours = fit_components(VoteTable.of(votes))
    names = dict(zip(model.exog_vc.names, fit.vcomp, strict=True))
    assert ours.prompt == pytest.approx(names["p"], rel=0.02, abs=1e-3)
    assert ours.rater == pytest.approx(names["r"], rel=0.02, abs=1e-3)
    assert ours.rest == pytest.approx(fit.scale, rel=0.02)


def test_components_of_a_full_table_are_those_of_the_analysis_of_variance():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (9, 1)) + rng.normal(0, 1, (1, 7)) + rng.normal(0, 0.5, (9, 7))
    found = fit_components(VoteTable(np.ones((9, 7)), values, float((values**2).sum())))
    centered = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    rest = (centered**2).sum() / (8 * 6)
    assert found.rest == pytest.approx(rest, rel=1e-3)
    assert found.prompt == pytest.approx(values.mean(1).var(ddof=1) - rest / 7, rel=1e-2)
    assert found.rater == pytest.approx(values.mean(0).var(ddof=1) - rest / 9, rel=1e-2)


def test_variance_of_the_mean_of_a_full_table_is_its_textbook_form():
    variance = Components(0.3, 0.2, 0.7).variance_of_mean(np.ones((10, 5)))
    assert variance == pytest.approx(0.3 / 10 + 0.2 / 5 + 0.7 / 50)


@pytest.mark.parametrize("way", ["prompts", "raters"])
def test_bootstrap_of_one_way_is_the_ordinary_one(way):
    # Votes differ between prompts only, or between raters only.
    scores = np.random.default_rng(0).random(200)
    sums = np.tile(scores[:, None], 3)
    sums = sums if way == "prompts" else sums.T
    found = score_intervals.two_way_bootstrap(
        VoteTable(np.ones(sums.shape), sums, float((sums**2).sum()))
    )
    half = stats.norm.ppf(0.975) * scores.std() / np.sqrt(200)
    assert found.low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(scores.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize("method", METHODS)
def test_swapping_arms_flips_the_interval(method, simulated, table):
    plain = METHODS[method](table)
    flipped = METHODS[method](VoteTable.of(simulated.swapped()))
    assert (1 - flipped.high, 1 - flipped.low) == pytest.approx((plain.low, plain.high), abs=1e-4)


@pytest.mark.parametrize("method", [name for name in METHODS if name != NAIVE])
def test_one_rater_and_votes_that_are_all_the_same_give_no_interval(method, by_hand):
    one = by_hand([(0, prompt, choice) for prompt, choice in enumerate("abaabbaba")])
    same = by_hand([(rater, prompt, "a") for rater in range(4) for prompt in range(5)])
    assert METHODS[method](VoteTable.of(one)) is None
    if method != "two-way bootstrap":
        assert METHODS[method](VoteTable.of(same)) is None


def test_headline_covers_and_the_naive_interval_does_not():
    utility = Utility(rater_sd=0.5).with_score(0.6)
    rng = np.random.default_rng(0)
    hits = {HEADLINE: 0, NAIVE: 0}
    for _ in range(200):
        table = VoteTable.of(simulate(Design(60, 12, 5), {("c", "q"): utility}, rng))
        for name in hits:
            interval = METHODS[name](table)
            hits[name] += interval.low <= 0.6 <= interval.high
    assert hits[HEADLINE] >= 0.9 * 200
    assert hits[NAIVE] <= 0.8 * 200


def qualifies(cells, name):
    """Whether a method keeps the rule of docs/statistics.md in every scenario."""
    large, small = [], []
    for design in DESIGNS:
        for scenario in SCENARIOS:
            cell = cells[design][scenario]
            shares = large if design.startswith("30") else small
            shares.append(cell[name]["covered"] / cell["studies"])
    return min(large) >= 0.93 and max(large) <= 0.975 and min(small) >= 0.92


def test_headline_is_the_narrowest_method_that_covers_in_every_recorded_scenario():
    cells = json.loads(RECORDED.read_text())
    first = cells[next(iter(DESIGNS))].values()
    widths = {
        name: sum(cell[name]["width"] / cell["studies"] for cell in first)
        for name in METHODS
        if qualifies(cells, name)
    }
    assert min(widths, key=widths.get) == HEADLINE
