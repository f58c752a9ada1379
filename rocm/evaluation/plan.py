"""A comparison asked for, and the pictures that answer it.

Every arm draws the same prompts from the same seeds, so initial and per-step noise are shared. The
picture of column c, prompt p and seed s has index (c * P + p) * S + s.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.evaluation import request as limits
from rocm.evaluation.request import AXES, JUDGE, Request, check_count, check_once, check_prompts
from rocm.generation.picture import MAX_SEED, Picture, whole_number
from rocm.rewards.names import CLIP_FOLDERS, KL, PIXEL_NAMES, STATISTIC_NAMES, TASTE, check_measured
from rocm.rewards.official_versions import official_versions
from rocm.rewards.preference_files import check_base
from rocm.rewards.user_files import is_user_reward, user_versions
from rocm.runs.adapters import Adapter, check_fit, check_same_model, find_adapter, fingerprint
from rocm.storage.numbers import duration

FREE = (*PIXEL_NAMES, *CLIP_FOLDERS, TASTE)


@dataclass(frozen=True)
class Column:
    """A column of the grid: an arm at one value of the axis."""

    label: str
    value: str  # of the axis, in words; empty without an axis
    picture: Picture  # settings of its pictures; prompt and seed are filled in
    trained: tuple[str, ...] = ()  # rewards that the arm was trained on
    is_base: bool = False
    run_id: str = ""
    sha256: str = ""  # of its adapter, or empty

    @property
    def title(self) -> str:
        """Label and value of the axis in one line."""
        return f"{self.label} {self.value}".strip()


@dataclass(frozen=True)
class Result:
    """A drawn picture: its index in the plan, its file, and its measures by name."""

    index: int
    file: Path
    scores: dict[str, float]


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison that can be drawn."""

    columns: tuple[Column, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    axis: str = ""  # of `AXES`, or empty
    rewards: tuple[str, ...] = ()  # measured, in order
    judge: str = ""  # the held-out reward among them, or empty
    official: dict[str, str] = field(default_factory=dict)  # package and checkpoint, or file

    @property
    def num_pictures(self) -> int:
        """Columns times prompts times seeds."""
        return len(self.columns) * len(self.prompts) * len(self.seeds)

    @property
    def measures(self) -> tuple[str, ...]:
        """All that is measured of each picture."""
        return tuple(dict.fromkeys([*self.rewards, *STATISTIC_NAMES, KL]))

    @property
    def key(self) -> str:
        """Equal for plans that draw and measure the same, adapters' contents included."""
        content = asdict(self)
        if not self.official:  # as before there were any, so that old comparisons are found
            del content["official"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def index(self, column: int, prompt: int, seed: int) -> int:
        """The picture's index, from column, prompt and seed, each counted from 0."""
        return (column * len(self.prompts) + prompt) * len(self.seeds) + seed

    def cell(self, index: int) -> tuple[int, int, int]:
        """Column, prompt and seed of a picture; the reverse of `index`."""
        rest, seed = divmod(index, len(self.seeds))
        column, prompt = divmod(rest, len(self.prompts))
        return column, prompt, seed

    def picture(self, index: int) -> Picture:
        """Settings of a picture."""
        column, prompt, seed = self.cell(index)
        chosen = self.columns[column].picture
        return replace(chosen, prompt=self.prompts[prompt], seed=self.seeds[seed])

    def base_of(self, column: int) -> int | None:
        """The base model's column at the same value of the axis, else the only one, else None."""
        bases = [k for k, column in enumerate(self.columns) if column.is_base]
        same = [k for k in bases if self.columns[k].value == self.columns[column].value]
        return next(iter(same or bases), None)


PLAN = TypeAdapter(ComparisonPlan)
"""Reads a plan from the JSON record of its `asdict`."""


def make_plan(request: Request, runs: Path, is_public: bool = False) -> ComparisonPlan:
    """The pictures that a request asks for; every adapter exists and fits the model.

    With `is_public` fewer pictures and no folders are allowed. RocmError for a bad value.
    """
    if not request.arms:
        raise ConfigError("There are no arms. Choose at least one: the base model, or an adapter.")
    if is_public and (request.model or not set(request.rewards) <= set(FREE)):
        raise ConfigError("A public page uses the embedded model and the listed rewards only.")
    check_count("arms", len(request.arms), limits.MAX_ARMS)
    arms = [find_adapter(name, runs, is_public) for name in request.arms]
    check_once("Arm", [arm.folder or arm.name for arm in arms])
    model = check_same_model(arms, request.model.strip())
    columns = tuple(_columns(request, arms, model))
    num_seeds = whole_number("num_seeds", request.num_seeds, 1, limits.MAX_SEEDS)
    first = whole_number("seed", request.seed, 0, MAX_SEED - num_seeds)
    trained = [name for arm in arms for name in arm.trained]
    rewards = [check_measured(name) for name in (*request.rewards, *trained, JUDGE)]
    check_base(rewards, model)
    steered = [arm.config.judge for arm in arms if arm.config and arm.config.is_judge_steering]
    plan = ComparisonPlan(
        columns=columns,
        prompts=check_prompts(request.prompts),
        seeds=tuple(range(first, first + num_seeds)),
        axis=request.axis,
        rewards=tuple(dict.fromkeys(rewards)),
        judge="" if JUDGE in (*trained, *steered) else JUDGE,
        official=official_versions(dict.fromkeys(rewards)) | user_versions(rewards),
    )
    if is_public and any(is_user_reward(name) for name in rewards):
        raise ConfigError(
            "A run that was trained on a reward of the user's own file cannot be compared here. "
            "Choose other runs."
        )
    if is_public and plan.num_pictures > limits.MAX_PUBLIC:
        raise ConfigError(
            f"{_product(plan)} are {plan.num_pictures:,} pictures; a public page "
            f"draws at most {limits.MAX_PUBLIC}. Use fewer prompts, seeds or arms."
        )
    return plan


def _columns(request: Request, arms: list[Adapter], model: str) -> list[Column]:
    grids = {arm.config.grid for arm in arms if arm.config} or {RunConfig().grid}
    if len(grids) > 1:
        raise ConfigError(
            f"These runs sample on different timestep grids ({', '.join(sorted(grids))}), so they "
            "cannot share their noise. Compare runs of one grid."
        )
    first = Picture(
        prompt="x",
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        grid=grids.pop(),
        model=model,
    ).checked()
    columns = []
    for arm in arms:
        for value, words, folder in _along(request, arm):
            is_setting = words and request.axis != "checkpoint"
            varied: dict[str, Any] = {request.axis: value} if is_setting else {}
            if folder:
                check_fit(arm, folder, model)
            picture = replace(first, adapter=folder, **varied).checked()
            column = Column(
                label=arm.label,
                value=words,
                picture=replace(picture, prompt=""),
                trained=arm.trained,
                is_base=not arm.folder,
                run_id=arm.run.path.name if arm.run else "",
                sha256=fingerprint(folder) if folder else "",
            )
            columns.append(column)
    check_count("columns", len(columns), limits.MAX_ARMS * limits.MAX_VALUES)
    return columns


def _along(request: Request, arm: Adapter) -> list[tuple[float, str, str]]:
    """Value, its label and the adapter's folder, for each column of an arm."""
    axis, values = request.axis, request.values
    if axis and axis not in AXES:
        raise ConfigError(f"axis={axis[:60]!r} is not allowed. Axes: {', '.join(AXES)}.")
    check_once("Value", list(values))
    check_count("values", len(values), limits.MAX_VALUES, low=0)
    if not axis or (not arm.folder and axis in ("checkpoint", "adapter_strength")):
        return [(0.0, "", arm.folder)]  # the base model has neither: it is drawn once
    if axis == "checkpoint":
        if not arm.steps():
            raise ConfigError(
                f"{arm.label} has no checkpoints to vary. Choose runs, or another axis."
            )
        steps = [whole_number("checkpoint", f"{value:g}", 0, 10**9) for value in values]
        return [
            (k, f"after {k}", arm.checkpoint(k)) for k in steps or arm.steps()[-limits.MAX_VALUES :]
        ]
    if not values:
        raise ConfigError(f"The axis {AXES[axis]} needs values. Give some, such as 1, 2, 4.")
    short = {"num_inference_steps": "N", "adapter_strength": "x", "guidance_scale": "guidance"}
    return [(value, f"{short[axis]} {value:g}", arm.folder) for value in values]


@dataclass(frozen=True)
class Pace:
    """Seconds and bytes per picture of an earlier comparison."""

    seconds: float
    num_bytes: float


def describe(plan: ComparisonPlan, pace: Pace | None) -> str:
    """Number of pictures, time and disk space of a plan."""
    words = f"{_product(plan)} are {plan.num_pictures:,} pictures"
    if pace is None:
        return f"{words}; the time is unknown until a first comparison has finished here."
    seconds, size = pace.seconds * plan.num_pictures, pace.num_bytes * plan.num_pictures
    return f"{words}: about {duration(seconds)} and {max(size / 1e6, 0.1):,.1f} MB on disk."


def _product(plan: ComparisonPlan) -> str:
    return f"{len(plan.prompts):,} prompts x {len(plan.seeds)} seeds x {len(plan.columns)} columns"
