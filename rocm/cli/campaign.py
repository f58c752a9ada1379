"""`python -m rocm reproduce loop`: the closed loop with simulated raters on the embedded model.

For each seed raters vote by taste on a study; at each number of votes a reward is learned and a
model trained on it, and the same number of votes by two kinds of raters whose votes say nothing of
pictures must be refused. A last study follows. Every piece is kept; the same call continues.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file, save

from rocm.algorithms.intervals import interval
from rocm.cli.learning import is_refused, teach
from rocm.cli.study import StudyHome, draw_study, study_home
from rocm.cli.tasters import make_tasters
from rocm.config import RunConfig
from rocm.errors import RunError
from rocm.experiments.reproduce.results import words
from rocm.models.lora import WEIGHTS
from rocm.rewards.names import TASTE
from rocm.rewards.preference_files import PREFIX, RECORD, rewards_folder
from rocm.runs.adapters import RUN
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder, write_atomic
from rocm.storage.paths import ROOT
from rocm.study.archive.learning import Lesson, gather
from rocm.study.design import lifecycle
from rocm.study.design.build import recipe_file
from rocm.study.design.recipe import Recipe
from rocm.study.design.rounds import last_recipe
from rocm.study.report.cells import percent, span
from rocm.study.report.document import Block, Heading, Paragraph, TextTable, to_html
from rocm.study.report.loop import ROCM, WEAK, arm_settings, last_study, loop_of
from rocm.study.report.stored import study_report
from rocm.study.statistics.agreement import Share
from rocm.study.statistics.score_intervals import ScoreInterval
from rocm.study.store.simulated_raters import simulate_raters
from rocm.training.loop import train

NULLS = ("coin", "left")
TEMPERATURE = 0.7
"""Noise of the raters, a third of the usual: they decide over 65 % of flipped repeats alike."""
NEW_RATERS = 1000
"""Added to the seed of the raters of the last study."""
LAST = {"seeds_per_prompt": 2, "votes_per_pair": 3}
"""A reward learns most from many pairs with a vote each, a last study asks for precision."""
ADAPTER = "assets/adapters/tiny-rocm-kl"
TWICE = "rocm-twice"
"""The arm beyond the raters' taste: `ADAPTER` with twice its update."""
PARTS = ("tiny-clip,colorfulness,saturation,smoothness", "tiny-clip")
"""Parts of the learned rewards: `tiny-preference` has learned from such raters already."""
CONSENT = {
    "version": "1", "text": "Simulated raters.", "contact": "nobody", "min_age": 0,
    "ethics": "none, no people take part", "pay": "unpaid", "retention": "unlimited",
}  # fmt: skip
Outcomes = list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """Size of the campaign; a quick one trains on refused rewards too, and is no evidence."""

    num_seeds: int = 5
    votes: tuple[int, ...] = (300, 1000, 3000)
    num_prompts: int = 501
    main_per_rater: int = 50
    is_quick: bool = False
    settings: dict[str, Any] = field(default_factory=dict)  # replace the presets' in every run


QUICK = Plan(
    1, (60, 120), 20, 20, True, {"num_steps": 2, "num_inference_steps": 4, "num_eval_prompts": 8}
)


def loop_plan(is_quick: bool) -> Plan:
    """The campaign, or a quick one that is no evidence."""
    return QUICK if is_quick else Plan()


@dataclass(frozen=True)
class Cell:
    """What one number of votes gave with one seed; taste by evaluation prompt, none if refused."""

    seed: int
    num_votes: int
    refusals: list[str]
    accuracy: float
    before: list[float]
    after: list[float]
    nulls_refused: dict[str, bool]


def carry_out(plan: Plan, folder: Path, say: Callable[[str], None]) -> Path:
    """Do what is missing and write report.html; its path."""
    make_folder(folder)
    os.environ["ROCM_HOME"] = str(folder.resolve())
    with study_home(folder, creates=True) as at:
        loops = [walk(at, plan, seed, say) for seed in range(plan.num_seeds)]
    cells = [cell for own, _ in loops for cell in own]
    last = {(seed, num): one for seed, (_, own) in enumerate(loops) for num, one in own.items()}
    blocks = _blocks(plan, cells, last)
    mark = ["SIMULATED VOTES", *(["QUICK: not evidence"] if plan.is_quick else [])]
    write_atomic(folder / "report.html", to_html("The closed loop at toy scale", mark, blocks))
    write_atomic(folder / "cells.json", json.dumps([asdict(cell) for cell in cells], indent=1))
    return folder / "report.html"


def walk(
    at: StudyHome, plan: Plan, seed: int, say: Callable[[str], None]
) -> tuple[list[Cell], dict[int, Outcomes]]:
    """The loop of one seed: its cells, and the outcomes of a last study by number of votes.

    There is none where no reward was made, and none at all if the most votes made none.
    """
    study_id = _voted(at, _recipe(plan, seed, _twice(at.home / "arms" / TWICE)), seed, say)
    cells = [_cell(at, plan, study_id, seed, num, say) for num in plan.votes]
    if not cells[-1].after:
        return cells, {}
    last = {plan.votes[-1]: _last(at, plan, study_id, seed, say)}
    made = [cell for cell in cells[:-1] if cell.after]
    return cells, last | {cell.num_votes: _of_fewer(at, study_id, cell, say) for cell in made}


def _twice(folder: Path) -> Path:
    """A copy of the adapter whose update is twice as large; votes are learned at full strength."""
    if (folder / WEIGHTS).is_file():  # saved again it has another hash
        return folder
    tensors = load_file(ROOT / ADAPTER / WEIGHTS)
    doubled = {name: x * (2 if "lora.up" in name else 1) for name, x in tensors.items()}
    with safe_open(ROOT / ADAPTER / WEIGHTS, "pt") as file:
        metadata = file.metadata()
    make_folder(folder)
    write_atomic(folder / WEIGHTS, save(doubled, metadata))
    return folder


def _recipe(plan: Plan, seed: int, twice: Path) -> Recipe:
    arms = [{"name": "rocm", "adapter": ADAPTER}, {"name": TWICE, "adapter": str(twice)}]
    question = {"key": "overall", "text": "Which picture do you prefer, given this description?"}
    values = {"title": f"Simulated raters, seed {seed}", "seed": seed, "consent": CONSENT}
    values |= {"arms": [{"name": "base"}, *arms], "within_arms": True}
    values |= {"prompts": {"set": "own", "split": "training", "num": plan.num_prompts}}
    values |= {"votes_per_pair": 1, "main_per_rater": plan.main_per_rater, "min_check_share": 0}
    return Recipe.load(values | {"questions": [question], "checks_per_rater": 0, "practice": 0})


def _voted(at: StudyHome, recipe: Recipe, seed: int, say: Callable[[str], None]) -> str:
    """The id of a recipe's study: drawn, voted on by new raters, and closed."""
    same = [one for one in at.store.studies() if one.title == recipe.title]
    closed = [one.study_id for one in same if one.status == "closed"]
    if closed:
        return closed[0]
    opened = [one.study_id for one in same if one.status == "open"]
    study_id = opened[0] if opened else draw_study(at, recipe)
    if not opened:
        lifecycle.open_study(at.store, study_id)
    num = recipe.num_pairs * recipe.votes_per_pair // recipe.main_per_rater + 1
    say(f"{recipe.title}: {num} raters vote")
    crowd = make_tasters(at, study_id, num, seed, TEMPERATURE)
    simulate_raters(at.store, study_id, num, crowd)
    lifecycle.close(at.store, study_id)
    return study_id


def _cell(
    at: StudyHome, plan: Plan, study_id: str, seed: int, num: int, say: Callable[[str], None]
) -> Cell:
    name = f"votes-{num}-seed-{seed}"
    file = at.home / "cells" / f"{name}.json"
    if file.is_file():
        return Cell(**json.loads(file.read_text(encoding="utf-8")))
    whole = gather(at.store, [study_id])
    rows = np.random.default_rng([seed, num]).permutation(len(whole.votes))[:num]
    lesson = replace(whole, votes=[whole.votes[k] for k in sorted(rows)])
    say(f"{name}: learning")
    learned = teach(at, lesson, name, PARTS, keeps_refused=plan.is_quick)
    refused = {kind: is_refused(at, null_votes(lesson, kind, seed), PARTS) for kind in NULLS}
    before, after = [], []
    if (rewards_folder(at.home) / name / RECORD).is_file():
        settings = {"reward": PREFIX + name, "seed": seed, **WEAK, **plan.settings}
        run = _trained(at.home / "runs" / name, ROCM, settings, say)
        before, after = (run.scores(step)[TASTE] for step in (0, run.config().num_steps))
    accuracy = learned.accuracy.share or 0.0
    cell = Cell(seed, num, list(learned.refusals), accuracy, before, after, refused)
    make_folder(file.parent)
    write_atomic(file, json.dumps(asdict(cell), indent=1))
    return cell


def null_votes(lesson: Lesson, kind: str, seed: int) -> Lesson:
    """The same showings, answered by a coin or always by the left picture."""
    rng = np.random.default_rng([seed, len(lesson.votes)])
    coins = rng.choice(["a", "b"], len(lesson.votes))
    answers = coins if kind == "coin" else [vote.left_is for vote in lesson.votes]
    total = lesson.repeats.total
    alike = int(rng.binomial(total, 0.5)) if kind == "coin" else 0
    pairs = zip(lesson.votes, answers, strict=True)
    votes = [replace(vote, choice=str(answer)) for vote, answer in pairs]
    return replace(lesson, votes=votes, repeats=Share(alike, total))


def _trained(
    path: Path, preset: str, settings: dict[str, Any], say: Callable[[str], None]
) -> RunDir:
    """A run of these settings, trained to its end."""
    run = RunDir(path)
    if not run.written_state():
        RunDir.create(path, RunConfig.load(preset, **settings), preset)
    if run.status().state != "finished":
        say(f"{path.name}: training")
        for _ in train(run, resume=bool(run.checkpoints())):
            pass
        if run.status().state != "finished":
            raise RunError("Stopped. Run the same command to continue.")
    return run


def _last(
    at: StudyHome, plan: Plan, study_id: str, seed: int, say: Callable[[str], None]
) -> Outcomes:
    """Outcomes of the study of the arms on test prompts, by new raters, and its report."""
    known = loop_of(at.store, at.home, study_id).runs
    for method, (preset, config) in arm_settings(at.store, at.home, study_id).items():
        path = at.home / "runs" / f"last-{seed}-{method.replace(' ', '-')}"
        if method not in known:
            _trained(path, preset, config.model_dump() | plan.settings, say)
    recipe = last_study(at.store, at.home, study_id)
    return _outcomes(at, recipe, "last study", f"last-seed-{seed}", say)


def _of_fewer(at: StudyHome, study_id: str, cell: Cell, say: Callable[[str], None]) -> Outcomes:
    """As `_last`, for the reward of fewer votes and without D3PO."""
    num, seed = cell.num_votes, cell.seed
    single = "ROCM on the best single reward"
    runs = {
        f"ROCM-on-{num}-votes": f"votes-{num}-seed-{seed}",
        single.replace(" ", "-"): loop_of(at.store, at.home, study_id).runs[single],
    }
    arms = [{"name": name, "adapter": RUN + run} for name, run in runs.items()]
    recipe = Recipe.load(recipe_file(at.home, study_id))
    recipe = last_recipe(recipe, [{"name": "base"}, *arms])
    return _outcomes(at, recipe, f"{num} votes", f"last-seed-{seed}-votes-{num}", say)


def _outcomes(
    at: StudyHome, recipe: Recipe, title: str, folder: str, say: Callable[[str], None]
) -> Outcomes:
    """Outcomes of a last study by new raters, whose report is written to `folder`."""
    recipe = recipe.model_copy(update={"title": f"{recipe.title}: {title}", **LAST})
    report = study_report(at.store, _voted(at, recipe, recipe.seed + NEW_RATERS, say))
    report.write(at.home / folder)
    outcomes: Outcomes = report.content()["results"]["outcomes"]
    return outcomes


def _blocks(plan: Plan, cells: list[Cell], last: dict[tuple[int, int], Outcomes]) -> list[Block]:
    rows = []
    for num in plan.votes:
        own = [cell for cell in cells if cell.num_votes == num]
        trained = [cell for cell in own if cell.after]
        means = [float(np.mean(cell.after) - np.mean(cell.before)) for cell in trained]
        gain = interval(means, "seeds")
        before = f"{np.mean([c.before for c in trained]):.2f}" if trained else "-"
        made = sum(not cell.refusals for cell in own)
        nulls = (f"{sum(c.nulls_refused[kind] for c in own)} of {len(own)}" for kind in NULLS)
        accuracy = percent(float(np.mean([cell.accuracy for cell in own])))
        gained = words(gain, 2) if gain else "no reward"
        rows.append((str(num), f"{made} of {len(own)}", accuracy, before, gained, *nulls))
    header = ("votes", "rewards made", "left-out votes predicted", "taste before", "change",
              "coin refused", "left refused")  # fmt: skip
    blocks: list[Block] = [
        Paragraph(
            f"{plan.num_seeds} seeds of raters and training. Taste of the evaluation prompts, in "
            "percent of a channel's range, at most 0: what raters vote by, which no reward sees. "
            "Change: mean over seeds, with its 95 % interval. Coin and left: votes on the same "
            "pairs at random, or for the left picture, from which no reward must be made."
        ),
        TextTable(header, rows),
    ]
    if not last:
        return [*blocks, Paragraph("No reward was made, so there is no last study.")]
    scores = [
        (str(num), str(seed), one["comparison"], percent(one["score"]), _span(one))
        for (seed, num), outcomes in sorted(last.items(), key=lambda item: item[0][::-1])
        for one in outcomes
    ]
    return [
        *blocks,
        Heading("The last studies: new raters, prompts of the test part"),
        TextTable(("votes", "seed", "comparison", "score of the first", "95 % interval"), scores),
        Paragraph("report.html of each last-seed-* has the intervals and the chain of hashes."),
    ]


def _span(outcome: dict[str, Any]) -> str:
    return span(ScoreInterval(**outcome["interval"]) if outcome["interval"] else None)
