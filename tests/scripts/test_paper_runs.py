"""The page of the paper's runs is what presets, overlays and counts give; the counts add up."""

import json
from pathlib import Path

import pytest

from rocm.config import RunConfig
from rocm.config.hardware import with_hardware
from scripts.paper_runs import CARDS, COUNTS, FAMILIES, PAGE, document, hours

DRY = Path(COUNTS).with_name("dry-real.json")


@pytest.fixture(scope="module")
def counts() -> dict:
    return json.loads(COUNTS.read_text(encoding="utf-8"))


def test_the_table_is_that_of_presets_overlays_and_counts():
    text = PAGE.read_text(encoding="utf-8")
    assert text == document(text), "Run: python -m scripts.paper_runs"


def parts() -> dict[str, float]:
    """TFLOP of one call of each network, as the benchmark counts them."""
    rows = json.loads(DRY.read_text(encoding="utf-8"))["rows"]
    return {row["what"]: row["TFLOP"] for row in rows if row["variant"] == "lean"} | {
        row["what"]: row["TFLOP"]
        for row in rows
        if row["variant"] == "plain" and row["what"].startswith("reward")
    }


@pytest.mark.parametrize(
    "key", ["rocm/1", "rocm/2", "rlcm/1", "rlcm/4", "ddpo/1", "d3po/2", "dpok/4"]
)
def test_an_update_counts_what_its_network_calls_count(counts, key):
    family, batch = key.split("/")
    one, num = parts(), 8
    policy, reference = ("policy forward", "policy backward"), ("reference forward",)
    if family == "rocm":  # no gradient returns to the noise, the reference's first state
        calls = {name: num for name in (*policy, *reference)}
        calls |= {"reference backward": num - 1} | dict.fromkeys(
            ("decode forward", "decode backward", "reward forward", "reward backward"), 1
        )
    else:  # draws and scores without a gradient; DDPO's last step is no decision
        decided = num - (family == "ddpo")
        calls = {"policy forward": num + decided, "policy backward": decided}
        calls |= {"decode forward": 1, "reward forward": 1}
        calls |= {"reference forward": num * (family in ("d3po", "dpok"))}
    expected = int(batch) * sum(number * one[name] for name, number in calls.items())
    assert counts[key]["ways"]["lean"]["TFLOP"] == pytest.approx(expected, rel=0.01)


def test_hours_are_those_of_a_hand_calculation(counts):
    card = CARDS[1]
    config = with_hardware(RunConfig.load(FAMILIES["rocm"]), card.hardware)
    way = {"TFLOP": 33.04, "operations": 100_000}
    known = {"ways": {"lean": way}, "drawing TFLOP": 6.608}
    # 66.08 TFLOP/s: 0.5 s of computing, 0.6 s of launching; 41 evaluations of 64 pictures, 0.1 s.
    by_hand = (20_000 * 2 * 0.6 + 41 * 64 * 0.1) / 3600
    assert hours(config, known, "lean", card) == pytest.approx(by_hand)
    way["operations"] = 50_000
    by_hand = (20_000 * 2 * 0.5 + 41 * 64 * 0.1) / 3600
    assert hours(config, known, "lean", card) == pytest.approx(by_hand)
