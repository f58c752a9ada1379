"""How often a peek at equal arms decides for one: `python -m scripts.peeking`.

Simulates studies of which the truth is known and looks at each as its votes come in, by four ways
to decide: the e-value of `rocm.study.statistics.evidence`; the beta-binomial e-process on prompt
majorities, which takes prompts as independent; the headline interval at every look; and that
interval at the end.
"""

import argparse
import json
from itertools import product
from math import log
from pathlib import Path

import numpy as np
from scipy.special import betaln

from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.evidence import NUM_LOOKS, evidence
from rocm.study.statistics.outcomes import HEADLINE
from rocm.study.statistics.score_intervals import METHODS
from rocm.study.statistics.simulate import Design, Utility, simulate
from rocm.study.statistics.votes import Votes

DESIGNS = {
    "30 raters x 300 prompts": Design(num_prompts=300, num_raters=30, votes_per_pair=5),
    "8 raters x 40 prompts": Design(num_prompts=40, num_raters=8, votes_per_pair=5),
}
UTILITIES = {"reference": Utility(), "raters differ": Utility(rater_sd=0.5)}
ORDERS = ("all raters at once", "one rater after the other")
CONCENTRATION = 5
"""Both parameters of the beta prior."""


def beta_binomial_decides(votes: Votes, votes_per_pair: int) -> bool:
    """Whether the e-process on majorities of complete prompts ever reaches 20."""
    margins: dict[int, list[float]] = {}
    wins = decided = 0
    a = CONCENTRATION
    for prompt, score in zip(votes.prompt.tolist(), votes.scores.tolist(), strict=True):
        margin = margins.setdefault(prompt, [])
        margin.append(score - 0.5)
        if len(margin) == votes_per_pair and sum(margin):
            decided += 1
            wins += sum(margin) > 0
            value = betaln(a + wins, a + decided - wins) - betaln(a, a) + decided * log(2)
            if value >= log(20):
                return True
    return False


def interval_decides(votes: Votes) -> bool:
    """Whether the headline interval of these votes leaves out 1/2."""
    interval = METHODS[HEADLINE](VoteTable.of(votes))
    return interval is not None and not interval.low <= 0.5 <= interval.high


def decisions(votes: Votes, votes_per_pair: int) -> dict[str, bool]:
    """Whether each way decides for an arm."""
    sizes = np.linspace(0, len(votes), NUM_LOOKS + 1).astype(int)[NUM_LOOKS // 10 :]
    return {
        "e-value": evidence(votes).is_decided,
        "beta-binomial": beta_binomial_decides(votes, votes_per_pair),
        "interval, every look": any(interval_decides(votes.where(np.arange(n))) for n in sizes),
        "interval, at the end": interval_decides(votes),
    }


def count_decisions(design: Design, utility: Utility, order: str, num: int) -> dict[str, int]:
    """Studies of `num` in which each way decides."""
    rng = np.random.default_rng(0)
    counts: dict[str, int] = {}
    for _ in range(num):
        votes = simulate(design, {("c", "q"): utility}, rng)
        if order == ORDERS[1]:
            votes = votes.where(np.argsort(votes.rater, kind="stable"))
        for way, is_decided in decisions(votes, design.votes_per_pair).items():
            counts[way] = counts.get(way, 0) + is_decided
    return counts


def main() -> None:
    """Run the cells that are asked for and print all that are known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=Path("docs/data/peeking.json"))
    parser.add_argument("--num", type=int, default=400, help="simulated studies per cell")
    parser.add_argument("--score", type=float, default=0.5, help="true score")
    parser.add_argument("--design", default="", help="only designs whose name starts so")
    args = parser.parse_args()
    cells = json.loads(args.file.read_text()) if args.file.exists() else {}
    for design, name, order in product(DESIGNS, UTILITIES, ORDERS):
        if design.startswith(args.design):
            utility = UTILITIES[name].with_score(args.score)
            counts = count_decisions(DESIGNS[design], utility, order, args.num)
            cells[f"{design}; {name}; {order}; score {args.score}"] = {
                "studies": args.num,
                **counts,
            }
            args.file.write_text(json.dumps(cells, indent=1) + "\n")
    for key, counts in cells.items():
        shares = [f"{way} {100 * n / counts['studies']:.1f} %" for way, n in counts.items()]
        print(key, *shares[1:], sep=" | ")


if __name__ == "__main__":
    main()
