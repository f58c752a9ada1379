"""Warnings of reward hacking, mode collapse and saturation, from one evaluation."""

from rocm.algorithms.intervals import paired_difference
from rocm.evaluation.metrics import Evaluation
from rocm.storage.numbers import number

HACKING_FALL = 0.25  # standard deviations
COLLAPSE_SHARE = 0.5
SATURATION_RISE = 0.25


def warnings(start: Evaluation, now: Evaluation, judge: str, reward_gain: float) -> dict[str, str]:
    """A sentence by kind of the warnings that hold at an evaluation.

    `hacking`: the judge's paired 95 % interval lies more than `HACKING_FALL` deviations (at step 0)
    below step 0, while the trained reward rose by `reward_gain`. `collapse`: diversity below half
    of step 0's. `saturation`: the share of channel values at an end of the range rose by more than
    0.25.
    """
    sentences = {}
    if judge and reward_gain > 0:
        scores, before = now.scores[judge].tolist(), start.scores[judge].tolist()
        change = paired_difference(scores, before, "prompts")
        deviation = start.scale(judge).deviation
        if change and change.high is not None and change.high < -HACKING_FALL * deviation:
            sentences["hacking"] = (
                f"Reward hacking: the trained reward rose, but {judge}, which is not trained on, "
                f"fell by {number(-change.mean, 3)} ({number(-change.mean / deviation, 1)} "
                f"standard deviations)."
            )
    before_diversity, diversity = start.statistics["diversity"], now.statistics["diversity"]
    if diversity < COLLAPSE_SHARE * before_diversity:
        sentences["collapse"] = (
            f"Pictures look alike: diversity {number(before_diversity, 2)} -> "
            f"{number(diversity, 2)}."
        )
    share = now.statistics["at_limit"]
    rise = share - start.statistics["at_limit"]
    if rise > SATURATION_RISE:
        sentences["saturation"] = (
            f"Saturation: {share:.0%} of color values are at an end of their range, "
            f"{100 * rise:.0f} points more than at step 0."
        )
    return sentences
