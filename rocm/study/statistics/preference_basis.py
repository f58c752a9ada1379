"""The features of a learned reward: rewards, squares, and components of what pairs differ in."""

from dataclasses import dataclass

import numpy as np

from rocm.study.statistics.votes import Flags, Floats, Ints

NUM_PICTURE, NUM_PROMPT = 30, 15
"""Components of the picture's embedding, and of its products with the prompt's."""
SMALLEST, NEGLIGIBLE = 1e-4, 1e-6
"""Components of a smaller share of the first one's variance are noise; smaller sizes are 0."""


@dataclass(frozen=True)
class Basis:
    """phi = (f - mean) projection, whose differences in the pairs have a mean square of 1.

    Its blocks are rewards, their squares about the mean, components of the picture, and components
    of the products.
    """

    mean: Floats  # (2 K + 2 E,)
    projection: Floats  # (2 K + 2 E, D)
    sizes: tuple[int, int, int, int]  # of the blocks, sum D
    rewards_told: Flags  # rewards that some pair differs in: those with a column, (K,)

    @classmethod
    def of(cls, table: Floats, pairs: Ints, num_rewards: int) -> "Basis":
        """From f of M pictures (M, 2 K + 2 E) and the rows of each pair's pictures, (P, 2).

        A reward that no pair differs in has no column. Votes are not used.
        """
        difference = table[pairs[:, 0]] - table[pairs[:, 1]]
        width = table.shape[1]
        start = 2 * num_rewards
        middle = (start + width) // 2
        rewards, squares = np.eye(width)[:, :num_rewards], np.eye(width)[:, num_rewards:start]
        # (r - m)^2 is r^2 - 2 m r, but for a constant.
        blocks = [
            rewards,
            squares - 2 * rewards * table.mean(0)[:num_rewards],
            _components(difference, slice(start, middle), NUM_PICTURE),
            _components(difference, slice(middle, width), NUM_PROMPT),
        ]
        lengths = [np.sqrt(((difference @ block) ** 2).mean(0)) for block in blocks]
        told = [length > NEGLIGIBLE for length in lengths]
        told[1] = told[0] & (lengths[1] > NEGLIGIBLE**2)
        kept = [b[:, t] / x[t] for b, t, x in zip(blocks, told, lengths, strict=True)]
        sizes = (*(block.shape[1] for block in kept),)
        return cls(table.mean(0), np.concatenate(kept, 1), sizes, told[0])

    def __call__(self, table: Floats) -> Floats:
        """phi (M, D) of f (M, 2 K + 2 E)."""
        phi: Floats = (table - self.mean) @ self.projection
        return phi


def _components(difference: Floats, columns: slice, num: int) -> Floats:
    """At most `num` principal directions of some columns, (2 K + 2 E, num)."""
    part = difference[:, columns]
    values, vectors = np.linalg.eigh(part.T @ part)
    directions = vectors[:, values > SMALLEST * values[-1]][:, ::-1][:, :num]
    padded = np.zeros((difference.shape[1], directions.shape[1]))
    padded[columns] = directions
    return padded


def whitener_and_gate(phi: Floats) -> tuple[Floats, float]:
    """(D, D) that makes phi of M pictures white, and the 99 % quantile of its root mean square."""
    values, vectors = np.linalg.eigh(phi.T @ phi / len(phi))
    whitener: Floats = vectors / np.sqrt(np.maximum(values, NEGLIGIBLE * values.max()))
    distance = np.sqrt(((phi @ whitener) ** 2).mean(1))
    return whitener, float(np.quantile(distance, 0.99))
