"""The verdict of a pilot: scores in, advice out; docs/math.md, "Which divergence".

Scores are the judge's at the end of runs, in its deviations over the base model's pictures. Every
divergence trains with the same seeds and is evaluated on the same prompts and noise, so that a
difference to KL is paired by prompt and seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rocm.algorithms.intervals import holm

Floats = NDArray[np.float64]

KL = "kl"
THRESHOLD = 0.25  # of the judge's deviations: a smaller advantage is not worth another divergence
LEVEL = 0.05
NUM_RESAMPLES = 4000
MATCHED = 0.25  # largest departure of a divergence's KL from that of `kl`, as a share


@dataclass(frozen=True)
class Round:
    """Runs that the pilot asks for: each divergence with each seed, counted from 0.

    `is_fresh`: seeds and evaluation prompts are others than those of the rounds before.
    """

    divergences: tuple[str, ...]
    seeds: tuple[int, ...]
    is_fresh: bool = False


@dataclass(frozen=True)
class Arm:
    """A divergence's scores (P, S) of P prompts after training with S seeds, and its joint KL."""

    scores: Floats
    nats: float


Measure = Callable[[Round], dict[str, Arm]]


@dataclass(frozen=True)
class Difference:
    """The judge of a divergence minus that of KL, with the interval at `level`; plain numbers."""

    divergence: str
    mean: float
    low: float
    high: float
    p_value: float  # of "not above KL"; adjusted by Holm among the divergences of a screening
    num_seeds: int
    nats: float  # joint KL at the end
    kl_nats: float  # that of KL

    @property
    def is_matched(self) -> bool:
        """Whether both ended at about the same joint KL."""
        return abs(self.nats - self.kl_nats) <= MATCHED * self.kl_nats


@dataclass(frozen=True)
class Verdict:
    """The advised divergence; `confirmed` is None if no divergence went on to fresh runs."""

    advice: str
    sentence: str
    screened: tuple[Difference, ...]  # highest mean first
    confirmed: Difference | None


def pilot(divergences: Sequence[str], num_seeds: int, num_fresh: int, measure: Measure) -> Verdict:
    """Screen divergences against KL by successive halving, and confirm the best.

    After each of `num_seeds` >= 2 seeds the lower half of KL's rivals is dropped, so long as two
    are left. The best one that is above KL trains again, with `num_fresh` fresh seeds.
    """
    arms: dict[str, list[Arm]] = {}
    rivals = [name for name in divergences if name != KL]
    for seed in range(num_seeds):
        if seed and len(rivals) > 2:
            best = sorted(rivals, key=lambda name: -_gaps(arms[name], arms[KL]).mean())
            rivals = best[: (len(rivals) + 1) // 2]
        for name, arm in measure(Round((KL, *rivals), (seed,))).items():
            arms.setdefault(name, []).append(arm)
    screened = _screened(arms, rivals)
    ahead = [rival for rival in screened if rival.p_value <= LEVEL and rival.is_matched]
    if not ahead:
        return Verdict(KL, _no_difference(screened, rivals), screened, None)
    name = ahead[0].divergence
    fresh = measure(Round((KL, name), tuple(range(num_seeds, num_seeds + num_fresh)), True))
    confirmed = compared(name, [fresh[name]], [fresh[KL]], LEVEL)
    is_won = confirmed.low > THRESHOLD and confirmed.is_matched
    sentence = _won(confirmed) if is_won else _not_confirmed(confirmed)
    return Verdict(name if is_won else KL, sentence, screened, confirmed)


def compared(name: str, own: Sequence[Arm], kl: Sequence[Arm], level: float) -> Difference:
    """A divergence against KL over its seeds, whose arms come first in `kl`."""
    gaps = _gaps(own, kl)
    mean, spread = float(gaps.mean()), deviations(gaps)
    low, high = mean + np.quantile(spread, [level / 2, 1 - level / 2])
    p_value = (1 + np.count_nonzero(spread >= mean)) / (1 + len(spread))
    nats = (float(np.mean([arm.nats for arm in arms])) for arms in (own, kl[: len(own)]))
    return Difference(name, mean, float(low), float(high), float(p_value), gaps.shape[1], *nats)


def deviations(gaps: Floats) -> Floats:
    r"""How far the mean of paired gaps (P, S) lies from its expectation, resampled.

    Prompts and seeds are drawn with replacement, independently of each other (the pigeonhole
    bootstrap; Owen 2007, doi:10.1214/07-AOAS122). That triples the part of a single gap and takes
    (S - 1) / S of the seeds' part, so deviations are scaled to the unbiased variance of the mean,

    .. math:: (MS_p + MS_s - MS_e) / (P S) \ge MS_e / (P S)

    from the mean squares of prompts, seeds and the rest. One seed says nothing about seeds.
    """
    prompts, seeds = _weights(gaps.shape)
    spread = (prompts @ gaps * seeds).sum(1) - gaps.mean()
    return np.asarray(spread * (_variance(gaps) / max(spread.var(), 1e-30)) ** 0.5)


@lru_cache(maxsize=32)
def _weights(shape: tuple[int, ...]) -> list[Floats]:
    """Weights (NUM_RESAMPLES, n) of the mean, for each length n."""
    generator = np.random.default_rng(0)
    return [generator.multinomial(num, np.full(num, 1 / num), NUM_RESAMPLES) / num for num in shape]


def _variance(gaps: Floats) -> float:
    """Unbiased variance of the mean of gaps (P, S), P >= 2, as in `deviations`."""
    num_prompts, num_seeds = gaps.shape
    of_prompts, of_seeds = gaps.mean(1), gaps.mean(0)
    if num_seeds == 1:
        return float(of_prompts.var(ddof=1) / num_prompts)
    rest = gaps - of_prompts[:, None] - of_seeds + gaps.mean()
    rest_square = (rest**2).sum() / ((num_prompts - 1) * (num_seeds - 1)) / gaps.size
    prompts, seeds = of_prompts.var(ddof=1) / num_prompts, of_seeds.var(ddof=1) / num_seeds
    return float(max(prompts + seeds - rest_square, rest_square))


def _screened(arms: dict[str, list[Arm]], rivals: Sequence[str]) -> tuple[Difference, ...]:
    """All divergences but KL; the intervals hold together (Bonferroni), dropped ones have p 1."""
    names = [name for name in arms if name != KL]
    results = [compared(name, arms[name], arms[KL], LEVEL / len(names)) for name in names]
    p_values = holm([each.p_value if each.divergence in rivals else 1.0 for each in results])
    adjusted = [replace(result, p_value=p) for result, p in zip(results, p_values, strict=True)]
    return tuple(sorted(adjusted, key=lambda result: -result.mean))


def _gaps(own: Sequence[Arm], kl: Sequence[Arm]) -> Floats:
    pairs = zip(own, kl, strict=False)
    return np.hstack([arm.scores - base.scores for arm, base in pairs])


def _no_difference(screened: Sequence[Difference], rivals: Sequence[str]) -> str:
    kept = [result for result in screened if result.divergence in rivals]
    highest = max([0.0, *(result.high for result in kept)])
    unmatched = [result.divergence for result in kept if not result.is_matched]
    words = f" Not compared at the same KL: {', '.join(unmatched)}." if unmatched else ""
    return f"No difference above {highest:.2f} of the judge's deviations: take KL.{words}"


def _won(confirmed: Difference) -> str:
    return (
        f"Take {confirmed.divergence}: with {confirmed.num_seeds} fresh seeds and fresh prompts "
        f"its judge is {confirmed.mean:.2f} deviations above KL's (95 % interval "
        f"{confirmed.low:.2f} to {confirmed.high:.2f}) at {confirmed.nats:.3g} nats."
    )


def _not_confirmed(confirmed: Difference) -> str:
    if not confirmed.is_matched:
        return (
            f"Take KL: {confirmed.divergence} ended at {confirmed.nats:.3g} nats and KL at "
            f"{confirmed.kl_nats:.3g}, which is no comparison at the same KL."
        )
    return (
        f"No difference above {max(confirmed.high, 0):.2f} of the judge's deviations: take KL. "
        f"{confirmed.divergence} was ahead, but with fresh seeds and prompts its advantage is "
        f"{confirmed.mean:.2f} ({confirmed.low:.2f} to {confirmed.high:.2f}), and the lower end "
        f"is not above {THRESHOLD}."
    )
