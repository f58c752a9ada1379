"""The table against plain loops: prompts are the unit, differences are paired, seeds averaged."""

import csv
import io
import json
import math
import random
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from PIL import Image

from rocm.algorithms.intervals import student_quantile
from rocm.evaluation.efficiency import WINDOW, curve
from rocm.evaluation.formats import to_csv, to_json, to_latex, to_markdown
from rocm.evaluation.metrics import diversity
from rocm.evaluation.plan import Column, ComparisonPlan
from rocm.evaluation.store import Result
from rocm.evaluation.table import by_prompt, make_table, thumbnail
from rocm.generation.picture import Picture
from rocm.rewards.color import color_entropy
from rocm.storage.numbers import plus_minus, signed

NUM_PROMPTS, NUM_SEEDS = 7, 3
SHAPE = Picture("")


@pytest.fixture
def plan():
    arm = Column("a_b & 50%", "", SHAPE, trained=("reward",))
    prompts = tuple(f"prompt {number}" for number in range(NUM_PROMPTS))
    return ComparisonPlan(
        columns=(Column("base", "", SHAPE, is_base=True), arm),
        prompts=prompts,
        seeds=tuple(range(NUM_SEEDS)),
        rewards=("reward", "tiny-judge"),
        judge="tiny-judge",
    )


@pytest.fixture
def results(plan, tmp_path):
    draw = random.Random(0)
    found = []
    for index in range(plan.num_pictures):
        column, prompt, _ = plan.cell(index)
        values = {name: draw.random() for name in plan.measures}
        values["reward"] = 10 * prompt + column + draw.gauss(0, 0.2)
        file = tmp_path / f"{index}.png"
        pixels = np.random.default_rng(index).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        found.append(Result(index, file, values))
    return found


def by_hand(plan, results, column):
    scores = {plan.cell(one.index): one.scores["reward"] for one in results}
    return [
        fmean(scores[column, prompt, seed] for seed in range(NUM_SEEDS))
        for prompt in range(NUM_PROMPTS)
    ]


def test_means_and_paired_differences_are_those_of_a_plain_loop_over_prompts(plan, results):
    table = make_table(plan, results)
    base, arm = by_hand(plan, results, 0), by_hand(plan, results, 1)
    gains = [mine - other for mine, other in zip(arm, base, strict=True)]
    mean, paired = table.rows[1].means["reward"], table.rows[1].differences["reward"]
    for found, values in ((mean, arm), (paired, gains)):
        half = student_quantile(NUM_PROMPTS - 1) * stdev(values) / math.sqrt(NUM_PROMPTS)
        assert found.mean == pytest.approx(fmean(values))
        assert found.low == pytest.approx(fmean(values) - half)
        assert found.num == NUM_PROMPTS
    assert paired.high - paired.low < 0.1 * (mean.high - mean.low)
    assert table.rows[0].differences["reward"] is None


def test_a_prompt_without_all_its_seeds_counts_nowhere(plan, results):
    lacking = [one for one in results if plan.cell(one.index) != (1, 2, 1)]
    table = make_table(plan, lacking)
    assert table.rows[0].means["reward"].num == NUM_PROMPTS
    assert table.rows[1].means["reward"].num == NUM_PROMPTS - 1
    assert table.rows[1].differences["reward"].num == NUM_PROMPTS - 1
    assert table.rows[1].means["diversity"] is None
    assert make_table(plan, []).rows[0].means["reward"] is None
    assert make_table(plan, results).unfinished == ""
    assert f"{table.rows[1].title} {NUM_PROMPTS - 1}" in table.unfinished


def test_diversity_is_that_of_the_training_charts(tmp_path):
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = (images * 255).round() / 255
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray((image * 255).byte().permute(1, 2, 0).numpy()).save(file)
    flat = np.array([thumbnail(file) for file in files])
    values = by_prompt([flat])
    assert fmean(values) == pytest.approx(diversity(images), abs=2e-3)
    assert fmean(by_prompt([flat] * 2)) == pytest.approx(fmean(values))


def test_the_jackknife_s_values_are_those_of_leaving_each_prompt_out():
    pictures = np.random.default_rng(0).random((5, 12))

    def mean_distance(rows):
        pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
        return fmean(math.sqrt(((rows[i] - rows[j]) ** 2).mean()) for i, j in pairs)

    whole = mean_distance(pictures)
    expected = [5 * whole - 4 * mean_distance(np.delete(pictures, k, 0)) for k in range(5)]
    assert by_prompt([pictures]) == pytest.approx(expected)


def test_every_format_holds_the_same_figures_and_marks_the_trained_reward(plan, results):
    table = make_table(plan, results)
    mean, difference = table.rows[1].means["reward"], table.rows[1].differences["reward"]
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    line = next(one for one in lines if one["arm"] != "base" and one["measure"] == "reward")
    assert float(line["mean"]) == mean.mean
    assert float(line["difference_low"]) == difference.low
    assert (line["is_trained"], line["is_held_out"]) == ("1", "0")
    record = json.loads(to_json(table))
    assert record["rows"][1]["differences"]["reward"]["high"] == difference.high
    markdown, latex = to_markdown(table), to_latex(table)
    assert f"{plus_minus(mean.mean, mean.high - mean.mean, 3)}*" in markdown
    assert signed(difference.mean, 3) in markdown
    assert r"a\_b \& 50\%" in latex
    assert latex.count(r"\\") == 4
    assert r"\pm" in latex


def test_efficiency_adds_up_what_updates_cost_and_averages_the_last_twenty():
    draw = random.Random(0)
    rows = [{"step": 0, "eval/reward": 0.0}]
    for step in range(1, 61):
        cost = {"seconds": 0.5, "reward_queries": 4, "unet_forward": 32, "unet_backward": 16}
        rows.append({"step": step, "reward": draw.random(), **cost})
    found = curve(rows, "U-Net calls")
    assert found.cost == [48 * step for step in range(1, 61)]
    assert curve(rows, "reward queries").cost[-1] == 240
    last = [row["reward"] for row in rows[-WINDOW:]]
    assert found.mean[-1] == pytest.approx(fmean(last))
    assert found.high[-1] - found.mean[-1] == pytest.approx(float(np.std(last)))
    assert found.mean[0] == rows[1]["reward"]
    short = curve(rows, "seconds", max_points=7)
    assert len(short.cost) <= 7
    assert (short.cost[-1], short.mean[-1]) == (30.0, found.mean[-1])
    assert curve(rows[:1], "seconds").cost == []


def test_color_entropy_counts_boxes_of_colors():
    halves = torch.zeros(1, 3, 4, 4)
    halves[..., 2:] = 1.0
    assert color_entropy(halves * 0).item() == 0
    assert color_entropy(halves).item() == pytest.approx(1)
    corners = torch.linspace(0, 0.999, 8)
    every = torch.stack(torch.meshgrid(corners, corners, corners, indexing="ij"))
    assert color_entropy(every.reshape(1, 3, 16, 32)).item() == pytest.approx(9)
