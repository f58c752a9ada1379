from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocm.study.store.blocks import MIN_GAP, Sided, arranged, balanced_blocks, sided_for_need


@st.composite
def plans(draw):
    """Blocks, and the numbers of pairs, votes and pairs of a block that they are for."""
    num_pairs = draw(st.integers(1, 30))
    num_votes, size = draw(st.integers(1, 6)), draw(st.integers(1, num_pairs))
    seed = draw(st.text(max_size=3))
    return balanced_blocks(range(num_pairs), num_votes, size, seed), num_pairs, num_votes, size


@settings(deadline=None, max_examples=60)
@given(plans())
def test_every_pair_is_in_k_blocks_and_never_twice_in_one(plan):
    blocks, num_pairs, num_votes, size = plan
    assert all(len({one.pair for one in block}) == len(block) <= size for block in blocks)
    counted = Counter(one.pair for block in blocks for one in block)
    assert counted == dict.fromkeys(range(num_pairs), num_votes)
    assert sum(len(block) < size for block in blocks) <= 1


@settings(deadline=None, max_examples=60)
@given(plans())
def test_either_side_comes_equally_often_by_pair_and_by_block(plan):
    surplus = Counter()
    for number, block in enumerate(plan[0]):
        for one in block:
            for key in (("block", number), ("pair", one.pair)):
                surplus[key] += 1 if one.left_is == "a" else -1
    assert all(abs(value) <= 1 for value in surplus.values())


def test_the_plan_follows_from_the_seed():
    plans = [balanced_blocks(range(20), 3, 7, seed) for seed in ("a", "a", "b")]
    assert plans[0] == plans[1] != plans[2]


def test_neighbors_of_one_block_are_not_neighbors_of_the_next():
    blocks = balanced_blocks(range(100), 5, 25, "seed")
    sets = [{one.pair for one in block} for block in blocks]
    shared = [len(one & other) for k, one in enumerate(sets) for other in sets[:k]]
    assert max(shared) <= 15


@pytest.mark.parametrize("seed", "abcdef")
def test_repeats_come_late_and_flipped_and_practice_first(seed):
    main = [Sided(pair, "a") for pair in range(20)]
    order = arranged(main, [100, 101], [200, 201], 3, seed)
    assert [one.pair for one in order[:2]] == [100, 101]
    assert len(order) == 20 + 2 + 2 + 3
    first = {one.pair: place for place, one in enumerate(order) if not one.rep}
    repeats = [(place, one) for place, one in enumerate(order) if one.rep]
    assert len(repeats) == 3
    for place, one in repeats:
        assert one.left_is == "b"
        assert place - first[one.pair] > MIN_GAP
    checks = sorted(first[pair] for pair in (200, 201))
    assert 2 < checks[0] < checks[1] < len(order) - 1


def test_a_later_block_takes_the_rarer_side():
    sided = sided_for_need([1, 2, 3, 4], {1: 2, 2: 0}, {1: 0, 2: 1})
    assert [one.left_is for one in sided[:2]] == ["b", "a"]
    assert {one.left_is for one in sided[2:]} == {"a", "b"}
