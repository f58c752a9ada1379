"""How often each interval covers the true score, and how wide it is: `python -m scripts.coverage`.

Simulates studies whose true score is known, per design and scenario, and writes counts to a JSON
file that is extended when the command runs again, until it holds as many as asked for.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.score_intervals import METHODS
from rocm.study.statistics.simulate import Design, Utility, simulate

DESIGNS = {
    "30 raters x 300 prompts": Design(num_prompts=300, num_raters=30, votes_per_pair=5),
    "8 raters x 40 prompts": Design(num_prompts=40, num_raters=8, votes_per_pair=5),
}
FEW = {
    f"{num} raters x 40 prompts": Design(num_prompts=40, num_raters=num, votes_per_pair=num)
    for num in (2, 3, 5)
}
"""Designs of which the rule of docs/statistics.md does not speak."""
SCENARIOS = {
    "no difference": (Utility(), 0.5),
    "reference": (Utility(), 0.6),
    "clear difference": (Utility(), 0.7),
    "raters differ": (Utility(rater_sd=0.5), 0.6),
    "all alike": (Utility(prompt_sd=0.1, rater_sd=0.0), 0.6),
    "many ties": (Utility(tie_width=0.6), 0.6),
}
BATCH = 250


def run_batch(design: Design, scenario: str, number: int) -> dict[str, dict[str, float]]:
    """Hits, misses without interval and summed widths of `BATCH` studies, by method."""
    utility, score = SCENARIOS[scenario]
    utility = utility.with_score(score)
    rng = np.random.default_rng([number, list(SCENARIOS).index(scenario), design.num_prompts])
    totals = {name: {"covered": 0, "none": 0, "width": 0.0} for name in METHODS}
    for _ in range(BATCH):
        table = VoteTable.of(simulate(design, {("c", "q"): utility}, rng))
        for name, method in METHODS.items():
            interval = method(table)
            if interval is None:
                totals[name]["none"] += 1
            else:
                totals[name]["covered"] += interval.low <= score <= interval.high
                totals[name]["width"] += interval.width
    return totals


def extend(file: Path, num: int, design: str, scenario: str) -> None:
    """Add batches of one cell until `num` studies are counted."""
    cells = json.loads(file.read_text()) if file.exists() else {}
    cell = cells.setdefault(design, {}).setdefault(scenario, {"studies": 0})
    while cell["studies"] < num:
        batch = run_batch((DESIGNS | FEW)[design], scenario, cell["studies"] // BATCH)
        for name, counts in batch.items():
            sums = cell.setdefault(name, dict.fromkeys(counts, 0))
            for key, value in counts.items():
                sums[key] = round(sums[key] + value, 4)
        cell["studies"] += BATCH
        file.write_text(json.dumps(cells, indent=1) + "\n")


def table(file: Path) -> str:
    """The counts as a Markdown table: coverage and mean width in percent and points."""
    lines = ["| design | scenario | studies | " + " | ".join(METHODS) + " |"]
    lines.append("|---|---|---|" + "---|" * len(METHODS))
    for design, scenarios in json.loads(file.read_text()).items():
        for scenario, cell in scenarios.items():
            num = cell["studies"]
            values = [
                f"{100 * cell[name]['covered'] / num:.1f} % / "
                f"{100 * cell[name]['width'] / (num - cell[name]['none']):.1f}"
                for name in METHODS
            ]
            lines.append(f"| {design} | {scenario} | {num} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=Path("docs/data/coverage.json"))
    parser.add_argument("--num", type=int, default=4000, help="simulated studies per cell")
    parser.add_argument("--scenario", default="", help="only this one")
    parser.add_argument("--design", default="", help="only designs whose name starts so")
    parser.add_argument("--few", action="store_true", help="two to five raters instead")
    args = parser.parse_args()
    args.file.parent.mkdir(parents=True, exist_ok=True)
    for design in FEW if args.few else DESIGNS:
        for scenario in SCENARIOS:
            if scenario.startswith(args.scenario) and design.startswith(args.design):
                extend(args.file, args.num, design, scenario)
    print(table(args.file))


if __name__ == "__main__":
    main()
