"""What a mutation is, and how a table of them reads."""

import re
from dataclasses import dataclass

FAULT = re.compile(r"(.+) \| (.+)\n((?:- .*\n)+)((?:\+ .*\n)*)")


@dataclass(frozen=True)
class Mutation:
    """One fault: `old` stands exactly once in `file`; `test` must fail once it is `new`."""

    name: str
    file: str
    old: str
    new: str
    test: str


def read(table: str) -> list[Mutation]:
    """`@ file, file of tests` heads its faults: `name | test`, then lines `- old` and `+ new`."""
    mutations = []
    for block in table.split("\n@ ")[1:]:
        heading, faults = block.split("\n", 1)
        file, tests = heading.split(", ")
        for name, test, *sides in FAULT.findall(f"{faults}\n"):
            old, new = ("\n".join(line[2:] for line in side.splitlines()) for side in sides)
            mutations.append(Mutation(name, file, old, new, f"{tests}::{test}"))
    return mutations
