"""Comparisons for the learned reward: seeded, and its loss against a hand computation."""

import pytest
import torch

from scripts.tiny.export import prompt_list, split_objects
from scripts.tiny.pictures import Drawings
from scripts.tiny.preference import vote_loss


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    rows = [{"name": f"thing {i}", "style": s} for i in range(40) for s in ("flat", "3d")]
    return Drawings(None, rows)


def test_the_loss_of_a_decided_vote_is_bradley_terry_and_of_a_tie_the_mean_of_both():
    logits = torch.tensor([[1.0, -0.5], [0.2, 0.9], [2.0, 0.0]])
    difference = logits[:, 0] - logits[:, 1]
    won, lost = (torch.nn.functional.softplus(sign * difference) for sign in (-1, 1))
    expected = torch.stack([won[0], lost[1], (won[2] + lost[2]) / 2]).mean()
    torch.testing.assert_close(vote_loss(logits, torch.tensor([1.0, 0.0, 0.5])), expected)


def test_the_prompt_lists_share_no_object_and_repeat_no_caption(drawings: Drawings):
    split = split_objects(drawings, 0)
    assert sorted([*split.train, *split.eval, *split.test]) == drawings.objects
    prompts = prompt_list(drawings, split.train, 25, seed=1)
    assert len(set(prompts)) == len(prompts) == 25
    first = prompt_list(drawings, split.train, len(split.train), seed=1)
    assert len({p.split(" emoji of ")[1].split(" on a ")[0] for p in first}) == len(split.train)
