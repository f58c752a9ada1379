"""Comparisons for the learned reward: seeded, and its loss against a hand computation."""

import pytest
import torch

from scripts.tiny.book import everyday_words
from scripts.tiny.comparisons import Pool, decide, draw_pairs, pool_captions
from scripts.tiny.damage import DAMAGES
from scripts.tiny.export import prompt_list, split_objects
from scripts.tiny.measures import seed_share
from scripts.tiny.pictures import Drawings
from scripts.tiny.preference import agreement, vote_loss
from scripts.tiny.raters import palates


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pool() -> Pool:
    pictures = torch.randint(0, 256, (3, 4, 3, 64, 64), generator=draws(), dtype=torch.uint8)
    return Pool(["a cat", "a dog", "an owl"], pictures, pictures.flip(-1))


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    rows = [{"name": f"thing {i}", "style": s} for i in range(40) for s in ("flat", "3d")]
    return Drawings(None, rows)


def test_pairs_depend_on_the_seed_alone(pool: Pool):
    first, second = (draw_pairs(pool, 6, draws(5)) for _ in range(2))
    assert first.captions == second.captions
    assert torch.equal(first.first, second.first)
    assert torch.equal(first.second, second.second)
    assert not torch.equal(first.first, draw_pairs(pool, 6, draws(6)).first)


def test_candidates_are_pictures(pool: Pool):
    pairs = draw_pairs(pool, 32, draws(1))
    for images in (pairs.first, pairs.second):
        assert images.shape == (32, 3, 64, 64)
        assert 0 <= images.min() <= images.max() <= 1


def test_drawing_pairs_leaves_the_pool_as_it_is(pool: Pool):
    before = pool.pictures.clone()
    draw_pairs(pool, 32, draws(2))
    assert torch.equal(pool.pictures, before)


def test_decisions_repeat_with_the_seed(pool: Pool):
    pairs, raters = draw_pairs(pool, 16, draws(3)), palates(4, 0)
    assert torch.equal(decide(pairs, raters, draws(9)), decide(pairs, raters, draws(9)))


def test_the_loss_of_a_decided_vote_is_bradley_terry_and_of_a_tie_the_mean_of_both():
    logits = torch.tensor([[1.0, -0.5], [0.2, 0.9], [2.0, 0.0]])
    difference = logits[:, 0] - logits[:, 1]
    won, lost = (torch.nn.functional.softplus(sign * difference) for sign in (-1, 1))
    expected = torch.stack([won[0], lost[1], (won[2] + lost[2]) / 2]).mean()
    torch.testing.assert_close(vote_loss(logits, torch.tensor([1.0, 0.0, 0.5])), expected)


def test_agreement_counts_decided_votes_only():
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert agreement(logits, torch.tensor([1.0, 0.5, 0.0])) == 0.5


def test_a_pool_names_every_drawing_before_one_comes_again(drawings: Drawings):
    objects = drawings.objects[:10]
    captions = pool_captions(drawings, objects, 20, seed=0)
    assert len({caption.split(" on a ")[0] for caption in captions}) == 20


def test_the_prompt_lists_share_no_object_and_repeat_no_caption(drawings: Drawings):
    split = split_objects(drawings, 0)
    assert sorted([*split.train, *split.eval, *split.test]) == drawings.objects
    prompts = prompt_list(drawings, split.train, 25, seed=1)
    assert len(set(prompts)) == len(prompts) == 25
    first = prompt_list(drawings, split.train, len(split.train), seed=1)
    assert len({p.split(" emoji of ")[1].split(" on a ")[0] for p in first}) == len(split.train)


def test_an_alias_names_one_object_and_no_other_objects_name():
    words = everyday_words(["cat", "automobile", "crescent moon", "full moon"])
    assert words["car"] == 1
    assert words["moon"] == 2


def test_seeds_that_change_nothing_have_no_share():
    pictures = torch.rand(5, 1, 3, 8, 8, generator=draws()).expand(-1, 4, -1, -1, -1)
    assert seed_share(pictures) == 0
    shuffled = torch.rand(30, 4, 3, 8, 8, generator=draws())
    assert seed_share(shuffled) == pytest.approx(1, abs=0.02)


def test_every_damage_has_a_name_of_its_own():
    assert len({damage.__name__ for damage in DAMAGES}) == len(set(DAMAGES))
