"""The comparison as one self-contained page, with its data."""

import base64
import html
import json
from dataclasses import asdict, dataclass
from typing import Any

from rocm.experiments.reproduce.charts import beta_chart, efficiency_chart, picture_sheet
from rocm.experiments.reproduce.plan import METHODS, TUNING_SEED, Plan
from rocm.experiments.reproduce.results import TRAINED, Cell, Claim, words
from rocm.experiments.reproduce.runner import Row

SHEET_HEIGHT = 96
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } caption { text-align: left; }
th, td { border: 1px solid #cbd5e1; padding: .3rem .5rem; text-align: left; font-size: .85rem; }
svg, img { max-width: 100%; height: auto; } .no { font-weight: bold; }
"""


@dataclass(frozen=True)
class Findings:
    """Everything in the report."""

    plan: Plan
    chosen: dict[str, float]  # learning rate by method
    tuning: list[dict[str, Any]]  # method, learning rate, seed, gain of each tuning run
    cells: dict[str, dict[str, Cell]]  # by budget, then by method
    betas: dict[float, Cell]  # at the last budget
    second: dict[str, Cell]  # methods trained on the second reward, by key, at the last budget
    claims: list[Claim]
    rows: dict[str, list[list[Row]]]  # of metrics, by method, of each seed
    pictures: dict[str, list[Any]]  # paths by column heading: base model first
    prompts: list[str]  # of the pictures' rows
    judge: str  # name of the held-out judge
    machine: str  # hardware and time of the runs

    def to_json(self) -> str:
        """All figures: ends of every run, intervals, claims, tuning; pictures not included."""
        return json.dumps(
            {
                "is_evidence": not self.plan.is_quick,
                "machine": self.machine,
                "budget": self.plan.budget,
                "claims": [asdict(claim) for claim in self.claims],
                "learning_rates": self.chosen,
                "tuning": self.tuning,
                "methods": {
                    measure: {key: asdict(cell) for key, cell in of.items()}
                    for measure, of in self.cells.items()
                },
                "betas": {str(beta): asdict(cell) for beta, cell in self.betas.items()},
                "second_reward": {key: asdict(cell) for key, cell in self.second.items()},
            },
            indent=1,
        )

    def to_html(self) -> str:
        """One page without any request to elsewhere."""
        body = "\n".join(
            [
                f"<h1>{_title(self.plan)}</h1>",
                self._opening(),
                _claims(self.claims),
                *(self._table(measure) for measure in self.cells),
                self._second(),
                "<h2>Figure 4: reward and judge against beta</h2>",
                f"<p>ROCM with KL, {self.plan.num_headline_seeds} seeds, 95 % intervals over seeds;"
                " the highest mean is ringed.</p>",
                beta_chart(self.betas, self.judge),
                "<h2>Figure 5: reward against what it costs</h2>",
                "<p>Reward of the training pictures: running mean of 20 updates, band of one "
                "standard deviation over seeds.</p>",
                efficiency_chart(self.rows),
                self._pictures(),
                self._tuning(),
            ]
        )
        data = self.to_json().replace("</", "<\\/")
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width">'
            f"<title>{_title(self.plan)}</title><style>{STYLE}</style></head><body>\n{body}\n"
            f'<script type="application/json" id="data">{data}</script></body></html>\n'
        )

    def _opening(self) -> str:
        failed = [claim for claim in self.claims if not claim.holds]
        words_of = " ".join(f"{claim.text} {claim.evidence}." for claim in failed)
        opening = (
            f"<b>Claims of the paper that do not hold here ({len(failed)} of {len(self.claims)}):"
            f"</b> {html.escape(words_of)}"
            if failed
            else f"All {len(self.claims)} claims of the paper that were examined hold here."
        )
        missed = [
            f"{method.label} ({measure.replace('_', ' ')})"
            for measure, of in self.cells.items()
            for method in METHODS
            if not of[method.key].is_raised
        ]
        raised = (
            f"The trained reward did not rise in every seed for: {', '.join(missed)}."
            if missed
            else "Every method raised its reward in every seed, at every budget."
        )
        return f"<p>{opening}</p><p>{html.escape(raised)} {_how(self.plan, self.machine)}</p>"

    def _table(self, measure: str) -> str:
        of, limit = self.cells[measure], self.plan.budget[measure]
        caption = f"Table 1 at equal {measure.replace('_', ' ')} ({limit:g}): change from the base "
        caption += "model, mean and 95 % interval; the trained reward in its deviations"
        return _cells_table(caption, {method.label: of[method.key] for method in METHODS})

    def _second(self) -> str:
        labels = {method.key: method.label for method in METHODS}
        rows = {labels[key]: cell for key, cell in self.second.items()}
        return _cells_table("Trained on tiny-clip instead, not tuned again; last budget", rows)

    def _pictures(self) -> str:
        sheet = picture_sheet(list(self.pictures.values()), SHEET_HEIGHT)
        names = "".join(f"<li>{html.escape(name)}</li>" for name in self.pictures)
        rows = "".join(f"<li>{html.escape(prompt)}</li>" for prompt in self.prompts)
        return (
            "<h2>Figure 6: the same prompts and noise</h2><p>Columns from the left, seed 0 at the "
            f"end of the last budget:</p><ol>{names}</ol><p>Rows:</p><ol>{rows}</ol>"
            f'<img alt="Pictures of every method" src="data:image/png;base64,'
            f'{base64.b64encode(sheet).decode()}">'
        )

    def _tuning(self) -> str:
        lines = "".join(
            f"<tr><td>{html.escape(line['method'])}</td><td>{line['learning_rate']:.2g}</td>"
            f"<td>{line['seed']}</td><td>{line['objective']:+.3f}</td>"
            f"<td>{'chosen' if line['is_chosen'] else ''}</td></tr>"
            for line in self.tuning
        )
        return (
            "<h2>Tuning</h2><table><caption>One run each; objective: the trained reward minus "
            "beta times the divergence</caption><tr><th>method</th><th>learning rate</th>"
            "<th>seed</th><th>objective</th><th></th></tr>"
            f"{lines}</table>"
        )


def _title(plan: Plan) -> str:
    return "ROCM at toy scale" + (" (quick: not evidence)" if plan.is_quick else "")


def _how(plan: Plan, machine: str) -> str:
    budgets = " and ".join(
        f"{limit:g} {measure.replace('_', ' ')}" for measure, limit in plan.budget.items()
    )
    num_rates = len(plan.learning_rates(METHODS[0]))
    return html.escape(
        f"Every run of the embedded model may spend {budgets}; evaluations are not counted. "
        f"{plan.num_seeds} seeds, {plan.num_headline_seeds} for ROCM with KL, beta = 0, RLCM and "
        f"every beta. Learning rates tried for each method: {num_rates}, with seed {TUNING_SEED}, "
        f"which is not reported. {machine}"
    )


def _claims(claims: list[Claim]) -> str:
    lines = "".join(
        f"<tr><td>{html.escape(claim.text)}</td>"
        f"<td{'' if claim.holds else ' class=no'}>{'holds' if claim.holds else 'does not hold'}"
        f"</td><td>{html.escape(claim.evidence)}</td></tr>"
        for claim in claims
    )
    return f"<table><tr><th>claim</th><th>here</th><th>figures</th></tr>{lines}</table>"


def _cells_table(caption: str, rows: dict[str, Cell]) -> str:
    scores = list(next(iter(rows.values())).gains)
    scores.sort(key=lambda score: score != TRAINED)
    heads = "".join(f"<th>{html.escape(score)}</th>" for score in scores)
    lines = [
        f"<tr><th>{html.escape(label)}</th><td>{'yes' if cell.is_raised else 'no'}</td>"
        + "".join(f"<td>{words(cell.gains[score])}</td>" for score in scores)
        + f"<td>{sum(end.statistics['eval/diversity'] for end in cell.ends) / len(cell.ends):.3f}"
        f"</td><td>{', '.join(str(end.step) for end in cell.ends)}</td></tr>"
        for label, cell in rows.items()
    ]
    return (
        f"<table><caption>{html.escape(caption)}</caption><tr><th>method</th>"
        f"<th>raised in every seed</th>{heads}<th>diversity</th><th>updates</th></tr>"
        f"{''.join(lines)}</table>"
    )
