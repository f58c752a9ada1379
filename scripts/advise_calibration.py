"""How often `python -m rocm advise` is wrong, on simulated pilots.

A score is the divergence's effect plus independent normal parts of prompt, seed and their
combination, each of the divergence itself; what divergences share cancels in the differences.
"""

import argparse
from collections.abc import Mapping

import numpy as np

from rocm.config import RunConfig
from rocm.config.objective import DIVERGENCES
from rocm.experiments.advise.pilot import NUM_FRESH_PROMPTS, NUM_FRESH_SEEDS, NUM_SEEDS
from rocm.experiments.advise.verdict import Arm, Round, Verdict, pilot

NOISES = {"expected": (0.2, 0.05, 0.35), "twice the seeds' part": (0.2, 0.1, 0.35)}
PLANTED, NUM_PROMPTS = "js", RunConfig().num_eval_prompts


def simulated(
    effects: Mapping[str, float], noise: tuple[float, float, float], seed: int
) -> Verdict:
    """A pilot whose divergences have true `effects`, 0 if not named.

    `noise` are the standard deviations of a prompt's, a seed's and a picture's part of the score,
    in the judge's deviations.
    """
    generator = np.random.default_rng(seed)

    def measure(asked: Round) -> dict[str, Arm]:
        shape = (NUM_FRESH_PROMPTS if asked.is_fresh else NUM_PROMPTS, len(asked.seeds))
        arms = {}
        for name in asked.divergences:
            parts = [generator.normal(size=size) for size in ((shape[0], 1), shape[1], shape)]
            scores = sum(sd * part for sd, part in zip(noise, parts, strict=True))
            arms[name] = Arm(effects.get(name, 0.0) + scores, 40.0)
        return arms

    return pilot(DIVERGENCES, NUM_SEEDS, NUM_FRESH_SEEDS, measure)


def main() -> None:
    """Print the share of pilots that advise the planted divergence, and another than KL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pilots", type=int, default=200)
    num = parser.parse_args().pilots
    for words, noise in NOISES.items():
        for effect in (0.0, 0.25, 0.5):
            advice = [simulated({PLANTED: effect}, noise, seed).advice for seed in range(num)]
            right = advice.count(PLANTED) / num
            other = sum(name not in (PLANTED, "kl") for name in advice) / num
            print(f"{words}: effect {effect}: {right:.1%} {PLANTED}, {other:.1%} others")


if __name__ == "__main__":
    main()
