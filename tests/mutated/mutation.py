"""What a mutation is, and how a table of them reads."""

from dataclasses import dataclass


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
    mutations: list[Mutation] = []
    for line in table.strip().splitlines():
        kind, text = line[:2].rstrip(), line[2:]
        if kind == "@":
            file, tests = text.split(", ")
        elif kind in ("-", "+"):
            sides[kind].append(text)
            old, new = ("\n".join(lines) for lines in sides.values())
            mutations[-1] = Mutation(name, file, old, new, f"{tests}::{test}")
        else:
            name, test = line.split(" | ")
            sides = {"-": [], "+": []}
            mutations.append(Mutation(name, file, "", "", f"{tests}::{test}"))
    return mutations
