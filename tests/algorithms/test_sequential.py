"""The test of a fall: its statistic against integration, its level by simulation, its power."""

import math

import numpy
import pytest
from scipy.integrate import quad

from rocm.algorithms.sequential import LEVEL, PRIOR, Watch, looked, renewed

TOLERANCE = 0.05
DIFFERENCES = {
    "normal": lambda generator, num: 0.3 * generator.standard_normal(num),
    "heavy tails": lambda generator, num: 0.3 * generator.standard_t(2, num),
    "two values": lambda generator, num: generator.choice([-0.4, 0.4], num),
    "another spread at every look": lambda generator, num: (
        math.exp(generator.standard_normal()) * generator.standard_normal(num)
    ),
}


def alarm(generator, differences, fall, num_looks=12, num=32):
    """The look (from 1) at which a run is stopped, or None; comparisons are renewed as it does."""
    watch = Watch()
    for number in range(1, num_looks + 1):
        changes = differences(generator, num) - fall
        watch = looked(watch, changes.tolist(), TOLERANCE)
        if watch.has_fallen:
            return number
        if changes.mean() >= 0:
            watch = renewed(watch)
    return None


@pytest.mark.parametrize(("total", "squares"), [(0, 0), (3, 4), (-3, 2), (30, 40), (-40, 30)])
def test_evidence_is_the_mixture_of_bets(total, squares):
    def bet(size):
        density = 2 * math.exp(-(size**2) / (2 * PRIOR)) / math.sqrt(2 * math.pi * PRIOR)
        return math.exp(size * total - size**2 * squares / 2) * density

    expected, _ = quad(bet, 0, 20, points=[0.1, 1])
    assert Watch(1, total, squares).evidence == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", DIFFERENCES)
def test_false_alarms_of_a_whole_run_stay_below_the_level(kind):
    generator, num_runs = numpy.random.default_rng(1), 400
    runs = [alarm(generator, DIFFERENCES[kind], TOLERANCE) for _ in range(num_runs)]
    deviation = math.sqrt(LEVEL * (1 - LEVEL) / num_runs)
    assert sum(one is not None for one in runs) / num_runs <= LEVEL + 2 * deviation


def test_a_fall_is_seen_within_a_few_looks():
    generator = numpy.random.default_rng(2)
    looks = [alarm(generator, DIFFERENCES["normal"], 0.25) for _ in range(100)]
    assert sum(one is not None and one <= 4 for one in looks) >= 95
