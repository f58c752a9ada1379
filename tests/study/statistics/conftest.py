"""Votes for the statistics: by hand, and simulated."""

import numpy as np
import pytest

from rocm.study.statistics.simulate import Design, Utility, simulate
from rocm.study.statistics.votes import Votes


def by_hand(rows) -> Votes:
    """Votes of comparison "c" and question "q" from (rater, prompt, choice)."""
    return Votes.from_rows(
        {"rater": r, "prompt": p, "pair": p, "comparison": "c", "question": "q", "choice": choice}
        for r, p, choice in rows
    )


@pytest.fixture(name="by_hand")
def by_hand_fixture():
    return by_hand


@pytest.fixture(scope="session")
def simulated() -> Votes:
    """12 raters by 40 prompts, 5 votes per pair, true score 0.6, ties and lapses."""
    utility = Utility().with_score(0.6)
    return simulate(Design(40, 12, 5), {("c", "q"): utility}, np.random.default_rng(7))
