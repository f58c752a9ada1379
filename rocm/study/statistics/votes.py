"""Votes as columns: what every estimator of the study takes.

One row is one answer of one rater to one question about one pair of pictures. Rows stand in the
order in which they were stored. A repeated trial (`repetition` > 0), a practice trial and an
attention check never count as opinions: `Votes.opinions` leaves them out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rocm.errors import StudyError

CHOICES = ("a", "b", "tie")
SIDES = ("a", "b")
KINDS = ("main", "check", "practice")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.str_]
Flags = NDArray[np.bool_]
DTYPES: dict[Any, Any] = {Floats: np.float64, Ints: np.int64, Words: np.str_, Flags: np.bool_}


@dataclass(frozen=True)
class Votes:
    """Columns of equal length, one element per vote."""

    rater: Ints  # number within the study
    prompt: Ints
    pair: Ints  # has one prompt and one comparison
    comparison: Words  # its name, such as "rocm-hps:rlcm-hps"
    question: Words  # such as "overall"
    choice: Words  # "a", "b" or "tie": which arm of the comparison was preferred
    left_is: Words  # "a" or "b": the arm whose picture stood on the left
    kind: Words  # "main", "check" or "practice"
    repetition: Ints  # 0 for the first showing of a pair to a rater, 1 for the repeat
    rt_ms: Floats  # from both pictures loaded to the answer; NaN where not measured
    excluded: Flags  # by the manifest's rules
    category: Words  # of the prompt; "" where it has none
    expected: Words  # known answer of a check; "" elsewhere
    unseen: Flags  # answered without the pictures having been on the screen for long enough

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise StudyError(f"Columns of votes differ in length: {lengths}.")
        for name, allowed in (("choice", CHOICES), ("left_is", SIDES), ("kind", KINDS)):
            unknown = sorted(set(getattr(self, name).tolist()) - set(allowed))
            if unknown:
                raise StudyError(f"Votes hold {name} {unknown[0]!r}, not {', '.join(allowed)}.")

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> "Votes":
        """Columns from rows in their order; `DEFAULTS` stand in for absent keys and for None."""
        known = [{name: value for name, value in row.items() if value is not None} for row in rows]
        table = [DEFAULTS | row for row in known]
        required = [field.name for field in fields(cls) if field.name not in DEFAULTS]
        for name in required:
            if any(name not in row for row in table):
                raise StudyError(f"A vote has no {name!r}. A row needs: {', '.join(required)}.")
        return cls(
            **{
                field.name: np.array([row[field.name] for row in table], dtype=DTYPES[field.type])
                for field in fields(cls)
            }
        )

    @classmethod
    def joined(cls, parts: Sequence["Votes"]) -> "Votes":
        """The votes of all parts, one part after another."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def __len__(self) -> int:
        return len(self.rater)

    def where(self, mask: Flags | Ints) -> "Votes":
        """The votes for which `mask` (one bool per vote) holds, or those at an array of indices."""
        return Votes(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    def opinions(self, comparison: str = "", question: str = "") -> "Votes":
        """First answers about real pairs, of one comparison and question if they are named."""
        mask = (self.kind == "main") & (self.repetition == 0)
        if comparison:
            mask &= self.comparison == comparison
        if question:
            mask &= self.question == question
        return self.where(mask)

    def kept(self) -> "Votes":
        """Without what the exclusion rules leave out."""
        return self.where(~self.excluded)

    @property
    def scores(self) -> Floats:
        """1 where arm a was preferred, 1/2 at a tie, 0 where arm b was; shape (n,)."""
        return np.where(self.choice == "a", 1.0, np.where(self.choice == "tie", 0.5, 0.0))

    def swapped(self) -> "Votes":
        """The same votes with the arms' names exchanged: every score becomes 1 - score."""
        choice, left_is, expected = (
            np.where(words == "a", "b", np.where(words == "b", "a", words))
            for words in (self.choice, self.left_is, self.expected)
        )
        return replace(self, choice=choice, left_is=left_is, expected=expected)


DEFAULTS: dict[str, Any] = {
    "left_is": "a",
    "kind": "main",
    "repetition": 0,
    "rt_ms": np.nan,
    "excluded": False,
    "unseen": False,
    "category": "",
    "expected": "",
}
"""What stands in for a value that rows do not have."""
