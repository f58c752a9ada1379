"""Whether compiled blocks and the CUDA graph earn their place.

`python -m scripts.judge_speed FILES` reads the JSON of `python -m rocm bench step` and compares
each candidate with `flat`, the same settings without it, and with `plain`. A candidate is kept if
an update takes at most 1 / 1.05 of flat's time and its gradient is as good as flat's.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CANDIDATES = {"regional": "compile_blocks", "graph": "cuda_graph"}
BASE = "flat"
MIN_SPEED_UP = 1.05  # a smaller gain does not pay for a file of code
MAX_COSINE_LOSS = 0.01  # against flat's cosine with the gradient in fp32

Row = dict[str, Any]


def verdict(candidate: Row, base: Row) -> str:
    """One sentence: how much faster than `flat` and `plain`, and whether to keep it.

    Args:
        candidate: row of the table of `bench step`.
        base: `flat`'s row of the same table, `ref_grad` and batch.

    Returns:
        The sentence, which ends in KEEP, DELETE, or NOT MEASURED and why.
    """
    name = candidate["variant"]
    row = f"{CANDIDATES[name]} (batch {candidate['batch']}, ref_grad {candidate['ref_grad']})"
    if candidate["ms"] is None or base["ms"] is None:
        return f"{row}: NOT MEASURED. {candidate['note'] or base['note']}"
    speed_up = base["ms"] / candidate["ms"]
    is_right = candidate["cosine"] is None or (
        candidate["cosine"] > (base["cosine"] or 1) - MAX_COSINE_LOSS
    )
    word = "KEEP" if speed_up >= MIN_SPEED_UP and is_right else "DELETE"
    cosine = "-" if candidate["cosine"] is None else f"{candidate['cosine']:.4f}"
    return (
        f"{row}: {candidate['ms']:.1f} ms against flat's {base['ms']:.1f} ms, x {speed_up:.2f}; "
        f"x {candidate['x plain']:.2f} of plain; first update {candidate['first s']:.1f} s; "
        f"cosine {cosine}: {word}"
    )


def verdicts(rows: Sequence[Row]) -> list[str]:
    """The sentences of all candidates in one table, in its order."""
    bases = {(row["ref_grad"], row["batch"]): row for row in rows if row["variant"] == BASE}
    return [
        verdict(row, bases[row["ref_grad"], row["batch"]])
        for row in rows
        if row["variant"] in CANDIDATES
    ]


def main() -> None:
    """Print a line for each candidate; one without a table was not measured."""
    parser = argparse.ArgumentParser(prog="python -m scripts.judge_speed", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="of bench step --json")
    lines: list[str] = []
    for path in parser.parse_args().files:
        if path.is_file():
            lines += verdicts(json.loads(path.read_text(encoding="utf-8"))["rows"])
    for name in CANDIDATES.values():
        if not any(line.startswith(name) for line in lines):
            lines.append(f"{name}: NOT MEASURED. There is no table with it.")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
