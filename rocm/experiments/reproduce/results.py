"""Results of the runs: gains with intervals, and whether the paper's claims hold here."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from rocm.algorithms.intervals import Interval, interval
from rocm.experiments.reproduce.plan import METHODS, Job, Plan
from rocm.experiments.reproduce.runner import end_of_budget
from rocm.runs.run_dir import RunDir
from rocm.storage.numbers import number, signed

TRAINED = "reward"
NUM_LAST = 10  # updates that a divergence is the mean of
Key = TypeVar("Key")


@dataclass(frozen=True)
class End:
    """A run at the end of a budget.

    `gains` are by score and prompt over the base model, same noise: `reward` is the trained score
    in the base model's standard deviations, others have their own units.
    """

    step: int  # updates until then
    spent: float  # of the budget's measure
    gains: dict[str, list[float]]
    statistics: dict[str, float]  # `eval/...` figures without a value per prompt, such as diversity
    divergence: float = 0.0  # mean of the last updates; 0 if none is computed

    def objective(self, beta: float) -> float:
        """What a run maximizes: its trained reward minus beta times the divergence."""
        return fmean(self.gains[TRAINED]) - beta * self.divergence


@dataclass(frozen=True)
class Cell:
    """A method at one budget, over its seeds."""

    ends: list[End]  # of each seed's run
    gains: dict[str, Interval]  # of each score: mean over seeds of the means over prompts
    is_raised: bool  # whether `is_raised` holds in every seed


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, whether the figures here show it, and these figures."""

    text: str
    holds: bool
    evidence: str


def end_of(run: RunDir, measure: str, limit: float) -> End:
    """A run at the end of one budget, compared with step 0."""
    rows = run.metrics()
    row = end_of_budget(rows, measure, limit)
    assert row is not None, f"{run.path} has not spent its {measure}."
    now, before = run.scores(row["step"]), run.scores(0)
    gains = {
        name: [later - earlier for later, earlier in zip(now[name], before[name], strict=True)]
        for name in now
    }
    statistics = {name: value for name, value in row.items() if name.startswith("eval/")}
    done = [one for one in rows[1:] if one["step"] <= row["step"]]
    divergence = fmean(one.get("divergence", 0.0) for one in done[-NUM_LAST:])
    return End(row["step"], row["spent"], gains, statistics, divergence)


def cell_of(ends: list[End]) -> Cell:
    """Gains over seeds; with one seed the intervals are over prompts."""
    gains = {}
    for name, values in ends[0].gains.items():
        means = [fmean(end.gains[name]) for end in ends]
        gain = interval(means, "seeds") if len(ends) > 1 else interval(values, "prompts")
        assert gain is not None, "an end has a gain for every prompt"
        gains[name] = gain
    return Cell(ends, gains, all(is_raised(end.gains[TRAINED]) for end in ends))


def is_raised(gains: list[float]) -> bool:
    """Whether the 95 % interval of paired gains over prompts lies above 0."""
    gain = interval(gains, "prompts")
    return gain is not None and gain.low is not None and gain.low > 0


def difference(cell: Cell, other: Cell, score: str) -> Interval:
    """Mean gain of one method minus another's, paired by the seeds that both have."""
    pairs = zip(cell.ends, other.ends, strict=False)
    values = [fmean(first.gains[score]) - fmean(second.gains[score]) for first, second in pairs]
    gap = interval(values, "seeds")
    assert gap is not None, "both methods have the first seed"
    return gap


def best_learning_rates(plan: Plan, ends: dict[str, End]) -> dict[str, float]:
    """Learning rate by method with the highest objective at the last budget."""
    tried: dict[str, dict[float, float]] = {}
    for job in plan.tuning():
        rates = tried.setdefault(job.method.key, {})
        rates[job.config.learning_rate] = ends[job.name].objective(float(job.config.beta))
    return {key: max(rates, key=lambda rate: rates[rate]) for key, rates in tried.items()}


def cells_of(
    jobs: list[Job], ends: dict[str, End], role: str, key: Callable[[Job], Key]
) -> dict[Key, Cell]:
    """The runs of a role as cells, by a key of their jobs, in the plan's order."""
    ends_of: dict[Key, list[End]] = {}
    for job in jobs:
        if job.role == role:
            ends_of.setdefault(key(job), []).append(ends[job.name])
    return {value: cell_of(own) for value, own in ends_of.items()}


def claims(cells: dict[str, dict[str, Cell]], betas: dict[float, Cell], judge: str) -> list[Claim]:
    """The paper's claims, compared with the cells by budget and method and with the betas."""
    faster = [_first_order_is_faster(measure, of) for measure, of in cells.items()]
    last = list(cells.values())[-1]
    return [*faster, _divergence_keeps_honest(last, judge), _peak(betas, judge), _no_winner(last)]


def _first_order_is_faster(measure: str, cells: dict[str, Cell]) -> Claim:
    rivals = [method for method in METHODS if method.kind == "policy gradient"]
    gaps = {rival.label: difference(cells["beta0"], cells[rival.key], TRAINED) for rival in rivals}
    return Claim(
        "First-order gradients raise the reward faster than policy gradients, both without a "
        f"divergence, at equal {measure.replace('_', ' ')}.",
        all(_is_above(gap) for gap in gaps.values()),
        "; ".join(f"against {name}: {words(gap)} deviations" for name, gap in gaps.items()),
    )


def _divergence_keeps_honest(cells: dict[str, Cell], judge: str) -> Claim:
    kept = [method for method in METHODS if method.kind == "divergence"]
    gaps = {method.label: difference(cells[method.key], cells["beta0"], judge) for method in kept}
    return Claim(
        "With a divergence the held-out judge falls less than with beta = 0.",
        all(_is_above(gap) for gap in gaps.values()),
        "; ".join(f"{name}: {words(gap)}" for name, gap in gaps.items()),
    )


def _peak(betas: dict[float, Cell], judge: str) -> Claim:
    means = {beta: cell.gains[judge].mean for beta, cell in betas.items()}
    best = max(means, key=lambda beta: means[beta])
    return Claim(
        "As beta shrinks, preference (here the held-out judge) first rises and then falls "
        "(Figure 4).",
        best not in (min(means), max(means)) and means[best] > 0,
        "change of the judge: " + "; ".join(f"beta {b:g}: {m:+.3f}" for b, m in means.items()),
    )


def _no_winner(cells: dict[str, Cell]) -> Claim:
    kept = [method for method in METHODS if method.kind == "divergence"]
    scores = cells[kept[0].key].gains
    best = {
        score: max(kept, key=lambda method: cells[method.key].gains[score].mean) for score in scores
    }
    return Claim(
        "No divergence is best on every score.",
        len({method.key for method in best.values()}) > 1,
        "; ".join(f"{score}: {method.label}" for score, method in best.items()),
    )


def words(gap: Interval, decimals: int = 3) -> str:
    """An interval in words, such as `+0.120 (0.030 to 0.210)`."""
    mean = signed(gap.mean, decimals)
    if gap.low is None or gap.high is None:
        return mean
    return f"{mean} ({number(gap.low, decimals)} to {number(gap.high, decimals)})"


def _is_above(gap: Interval) -> bool:
    return (gap.low if gap.low is not None else gap.mean) > 0
