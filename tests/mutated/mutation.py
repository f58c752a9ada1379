"""What a mutation is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One fault: `old` stands exactly once in `file`; `test` must fail once it is `new`."""

    name: str
    file: str
    old: str
    new: str
    test: str
