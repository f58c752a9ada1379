"""Warnings: what an evaluation says about hacking, collapse and saturation, in words that help."""

from rocm.algorithms.intervals import paired_difference
from rocm.evaluation.metrics import Evaluation

HACKING_FALL = 1.0
COLLAPSE_SHARE = 0.5
SATURATION_RISE = 0.25


def warnings(
    start: Evaluation, now: Evaluation, judge: str, reward_gain: float, earlier: str
) -> dict[str, str]:
    """Warnings that hold at an evaluation.

    Args:
        start: of the untouched model (step 0).
        now: same prompts and noise.
        judge: name of the held-out reward among the scores; empty for none.
        reward_gain: trained reward now minus at step 0.
        earlier: the checkpoint before this evaluation, that a reader can go back to.

    Returns:
        A sentence by kind: `hacking` (the judge's paired 95 % interval lies below step 0, by more
        than one of its deviations there, while the trained reward lies above), `collapse`
        (diversity below half of step 0's), `saturation` (the share of channel values at an end of
        the range rose by more than 0.25).
    """
    found = {}
    way_out = f"Start anew with a larger beta, or use the adapter in {earlier}."
    if judge and reward_gain > 0:
        two = (evaluation.scores[judge].tolist() for evaluation in (now, start))
        change = paired_difference(*two, "prompts")
        deviation = start.scale(judge).deviation
        if change and change.high is not None and change.high < -HACKING_FALL * deviation:
            found["hacking"] = (
                f"Reward hacking: the trained reward rose, but {judge}, which is not trained on, "
                f"fell by {-change.mean:.3g} ({-change.mean / deviation:.1f} of its deviations at "
                f"step 0). {way_out}"
            )
    before, after = start.statistics["diversity"], now.statistics["diversity"]
    if after < COLLAPSE_SHARE * before:
        found["collapse"] = (
            f"Mode collapse: the prompts' pictures differ by {after:.3g}, at step 0 by "
            f"{before:.3g}. {way_out}"
        )
    rise = now.statistics["at_limit"] - start.statistics["at_limit"]
    if rise > SATURATION_RISE:
        found["saturation"] = (
            f"Saturation: {now.statistics['at_limit']:.0%} of colour values are at the end of "
            f"their range, {rise:.0%} more than at step 0. Raise beta or lower learning_rate."
        )
    return found
