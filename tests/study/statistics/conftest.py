"""Votes for the statistics: by hand, and simulated."""

import numpy as np
import pytest

from rocm.study.statistics.simulate import Design, Utility, simulate
from rocm.study.statistics.votes import Votes


@pytest.fixture
def by_hand():
    """Makes votes of comparison "c" and question "q" from (rater, prompt, choice)."""

    def votes(rows) -> Votes:
        return Votes.from_rows(
            {"rater": r, "prompt": p, "pair": p, "comparison": "c", "question": "q", "choice": one}
            for r, p, one in rows
        )

    return votes


@pytest.fixture(scope="session")
def simulated() -> Votes:
    """12 raters by 40 prompts, 5 votes per pair, true score 0.6, ties and lapses."""
    utility = Utility().with_score(0.6)
    return simulate(Design(40, 12, 5), {("c", "q"): utility}, np.random.default_rng(7))
