"""The verdict of a pilot as Markdown."""

from typing import Any

HEADS = ("divergence", "seeds", "judge minus KL's", "interval", "p", "KL, nats")


def to_markdown(record: dict[str, Any]) -> str:
    """The text of verdict.md, from the record of advice.json."""
    config = record["config"]
    lines = [
        f"## Which divergence for {record['preset']}",
        f"**{record['sentence']}**",
        f"Each run: {config['num_steps']} updates at a joint KL of {config['kl_budget']:g} nats. "
        f"Differences of {config['judge']} to KL are paired by prompt and seed, in its deviations "
        "over the base model's pictures. Intervals are two-way bootstrap intervals (prompts and "
        "seeds), which hold together at 95 % in the screening; p is adjusted by Holm.",
        "### Screening",
        _table(record["screened"]),
    ]
    if record["confirmed"]:
        lines += ["### Confirmation, fresh seeds and prompts", _table([record["confirmed"]])]
    lines += ["### Hypotheses from the base model, not tested", *record["hypotheses"]]
    return "\n\n".join(lines) + "\n"


def _table(differences: list[dict[str, Any]]) -> str:
    rows = [HEADS, ("---",) * len(HEADS), *map(_row, differences)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(difference: dict[str, Any]) -> tuple[str, ...]:
    is_known = difference["num_seeds"] > 1
    interval = f"{difference['low']:+.2f} to {difference['high']:+.2f}" if is_known else "dropped"
    nats = f"{difference['nats']:.3g} ({difference['kl_nats']:.3g} with KL)"
    figures = (f"{difference['mean']:+.2f}", interval, f"{difference['p_value']:.3g}", nats)
    return difference["divergence"], str(difference["num_seeds"]), *figures
