"""Which rater sees which pair, on which side, in which order: planned before the first vote.

A block is one rater's work. Every pair stands in k blocks, at most once in each, and on either side
equally often; every block shows either arm on the left equally often. Pure functions of a seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

MIN_GAP = 10


@dataclass(frozen=True)
class Sided:
    """A pair as one rater sees it: arm on the left, `a` or `b`; rep is 1 for the flipped repeat."""

    pair: int
    left_is: str
    rep: int = 0

    def flipped(self) -> "Sided":
        """The repeat."""
        return Sided(self.pair, other(self.left_is), 1)


Blocks = list[list[Sided]]


def other(side: str) -> str:
    """The other of `a` and `b`."""
    return "b" if side == "a" else "a"


def balanced_blocks(pairs: Sequence[int], num_votes: int, block_size: int, seed: str) -> Blocks:
    """Blocks of 1 to all pairs, in which each pair stands `num_votes` times, never twice in one."""
    random = Random(f"blocks/{seed}")
    # Neighbors on a circle are distinct up to its length; mixing then keeps them distinct.
    dealt = list(pairs) * num_votes
    blocks = [dealt[first : first + block_size] for first in range(0, len(dealt), block_size)]
    return _sides(_mixed(blocks, random), random)


def _mixed(blocks: list[list[int]], random: Random) -> list[list[int]]:
    """Swap pairs between blocks at random; each keeps its size and holds no pair twice."""
    held = [set(block) for block in blocks]
    for _ in range(20 * sum(map(len, blocks))):
        i, j = random.randrange(len(blocks)), random.randrange(len(blocks))
        x, y = random.randrange(len(blocks[i])), random.randrange(len(blocks[j]))
        p, q = blocks[i][x], blocks[j][y]
        if p in held[j] or q in held[i]:
            continue
        blocks[i][x], blocks[j][y] = q, p
        for inside, gone, new in ((held[i], p, q), (held[j], q, p)):
            inside.remove(gone)
            inside.add(new)
    for block in blocks:
        random.shuffle(block)
    return blocks


def _sides(blocks: list[list[int]], random: Random) -> Blocks:
    """Sides such that left is `a` in half of each pair's and of each block's showings.

    The showings are edges between blocks and pairs. Walking along edges that are not walked yet,
    from block to pair to block, and giving `a` to the way there and `b` to the way back, leaves
    every block and pair with as many `a` as `b`, but for one more where its number is odd.
    """
    left: dict[tuple[int, int], str] = {}
    open_blocks = [set(block) for block in blocks]
    open_pairs: dict[int, set[int]] = {}
    for number, block in enumerate(blocks):
        for pair in block:
            open_pairs.setdefault(pair, set()).add(number)
    for start in _starts(open_blocks, open_pairs):
        forth = random.choice("ab")
        for number, pair, is_forth in _walk(start, open_blocks, open_pairs):
            left[number, pair] = forth if is_forth else other(forth)
    return [
        [Sided(pair, left[number, pair]) for pair in block] for number, block in enumerate(blocks)
    ]


def _starts(
    open_blocks: list[set[int]], open_pairs: dict[int, set[int]]
) -> Iterator[tuple[bool, int]]:
    """Where walks begin: at odd ends first, so that every later walk ends where it began."""
    for number, pairs in enumerate(open_blocks):
        if len(pairs) % 2:
            yield True, number
    for pair, numbers in open_pairs.items():
        if len(numbers) % 2:
            yield False, pair
    for number, pairs in enumerate(open_blocks):
        while pairs:
            yield True, number


def _walk(
    start: tuple[bool, int], open_blocks: list[set[int]], open_pairs: dict[int, set[int]]
) -> Iterator[tuple[int, int, bool]]:
    """Edges (block, pair, whether walked from the block) until there is no way on."""
    at_block, here = start
    while ahead := open_blocks[here] if at_block else open_pairs[here]:
        there = min(ahead)
        number, pair = (here, there) if at_block else (there, here)
        open_blocks[number].remove(pair)
        open_pairs[pair].remove(number)
        yield number, pair, at_block
        at_block, here = not at_block, there


def sided_for_need(
    pairs: Sequence[int], num_left_a: Mapping[int, int], num_left_b: Mapping[int, int]
) -> list[Sided]:
    """Sides for a block made later: each pair's rarer side; the block's where those are equal."""
    chosen, balance = [], 0
    for pair in pairs:
        surplus = num_left_a.get(pair, 0) - num_left_b.get(pair, 0) or balance
        side = "b" if surplus > 0 else "a"
        balance += 1 if side == "a" else -1
        chosen.append(Sided(pair, side))
    return chosen


def arranged(
    main: Sequence[Sided],
    practice: Sequence[int],
    checks: Sequence[int],
    num_repeats: int,
    seed: str,
) -> list[Sided]:
    """A rater's trials: practice, then the pairs with checks spread evenly, and repeats.

    A repeat, sides flipped, comes after at least 10 other trials; short blocks have fewer.
    """
    random = Random(f"order/{seed}")
    body = list(main)
    random.shuffle(body)
    early = body[: max(0, len(body) - MIN_GAP)]
    repeated = random.sample(early, min(num_repeats, len(early)))
    stretch = len(body) // (len(checks) + 1)
    for number, pair in reversed(list(enumerate(checks, start=1))):
        place = number * stretch - random.randrange(max(1, stretch // 2))
        body.insert(max(0, place), Sided(pair, random.choice("ab")))
    for sided in repeated:
        first = body.index(sided) + MIN_GAP + 1
        body.insert(random.randint(first, len(body)), sided.flipped())
    return [*(Sided(pair, random.choice("ab")) for pair in practice), *body]
