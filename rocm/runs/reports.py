"""What a page shows of runs: states, measurements, pace; unchanged files are not read again."""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from rocm.config import RunConfig
from rocm.errors import MissingFile, RocmError
from rocm.runs.feed import Bookmark, Follower, Page, last_rows, read_page
from rocm.runs.names import RUN_ID, run_name
from rocm.runs.run_dir import RunDir, RunStatus

NUM_FOLLOWED = 16
Mark = tuple[int, int, int]
SHOWN_FILES = (
    *("config.yaml", "state.json", "about.json", "launch.json", "metrics.jsonl", "events.jsonl"),
    *("samples", "control"),
)


@dataclass(frozen=True)
class RunReport:
    """A run in one line of the list."""

    run_id: str
    created: float  # Unix time, in seconds
    status: RunStatus
    name: str = ""  # for people: its title, or its preset and what was changed
    title: str = ""
    note: str = ""
    preset: str = ""  # name of the settings it started from
    sweep: str = ""  # id of its sweep, or empty
    reward: float | None = None  # `eval/reward` of the newest evaluation; None before the first
    judge: float | None = None  # mean of the held-out judge there; None without a judge
    thumbnail: Path | None = None  # newest picture of the first prompt
    position: int | None = None  # place in the queue, from 0; None if the run does not wait
    config: RunConfig | None = None  # None if it cannot be read


@dataclass(frozen=True)
class RunPace:
    """Warnings (`step`, `warning`, `message`), speed of the newest update, and time left.

    `best_step` is the checkpoint that the held-out judge puts highest, None if none of them is
    above the base model or there is no warning.
    """

    is_measured: bool
    warnings: list[dict[str, Any]]
    images_per_s: float | None
    seconds_left: float | None
    best_step: int | None = None


@dataclass(frozen=True)
class RunFeed:
    """New rows of a run, and what its charts need besides."""

    page: Page  # the rows
    pictures_per_step: int  # pictures of one update
    resumed: list[float]  # Unix times at which the run was resumed
    warnings: list[dict[str, Any]]  # events with `step`, `warning` (the kind) and `message`
    base_scores: dict[str, dict[str, float]]  # `mean` and `deviation` by tracked reward
    is_judge_steering: bool  # the judge is not held out: it raises beta


@dataclass
class _Followed:
    metrics: Follower
    events: Follower
    pictures_per_step: int


class Reports:
    """Reads the runs of one folder and remembers files that have not changed."""

    def __init__(self, folder: Path):
        """Read the runs in `folder`."""
        self.folder = folder
        self._lock = Lock()
        self._followed: OrderedDict[Path, _Followed] = OrderedDict()
        self._reported: dict[Path, tuple[list[Mark | None], RunReport]] = {}
        self._results: dict[Path, tuple[Mark, dict[str, float | None]]] = {}

    def run(self, run_id: str) -> RunDir:
        """The run with this id; MissingFile if it does not exist."""
        run = RunDir(self.folder / run_id) if RUN_ID.fullmatch(run_id) else None
        if run is None or not (run.path / "config.yaml").is_file():
            # The message does not name the folder: on a public page strangers read it.
            raise MissingFile(
                f"There is no run '{run_id[:100]}' here. List them: python -m rocm runs"
            )
        return run

    def _report(self, run: RunDir, position: int | None = None) -> RunReport:
        """A damaged run is reported as `failed`, with its error."""
        names = ("config.yaml", "state.json", "about.json", "metrics.jsonl")
        marks = [_mark(run.path / name) for name in names]
        known, report = self._reported.get(run.path, ([None], None))
        if report is None or known != marks or report.status.is_active:
            config = report.config if report and known[0] == marks[0] else None
            report = self._fresh_report(run, config)
            self._reported[run.path] = (marks, report)
        return replace(report, position=position)

    def _fresh_report(self, run: RunDir, config: RunConfig | None) -> RunReport:
        """The report of a run; `config` are its settings if they are known."""
        try:
            status, about, results = run.status(), run.about(), self._newest(run)
            thumbnail = run.thumbnail()
        except RocmError as error:
            status, about, results = RunStatus("failed", error=str(error)), {}, {}
            thumbnail = None
        with suppress(RocmError):  # reported where the run is shown
            config = config or run.config()
        made = _mark(run.path / "config.yaml")  # None if it was deleted since it was listed
        return RunReport(
            run_id=run.path.name,
            created=about.get("created") or (made[0] / 1e9 if made else 0.0),
            status=status,
            name=run_name(run.path, about, config),
            title=about.get("title") or "",
            note=about.get("note") or "",
            preset=about.get("preset") or "",
            sweep=about.get("sweep") or "",
            reward=results.get("reward"),
            judge=results.get("judge"),
            thumbnail=thumbnail,
            config=config,
        )

    def pace(self, run_id: str) -> RunPace:
        """Warnings, speed and time left; the cost does not grow with the run."""
        run = self.run(run_id)
        with self._lock:
            followed, status = self._follow(run), run.status()
            rows, events = followed.metrics.rows(), followed.events.rows()
        newest, warnings = rows[-21:], _warnings(events)
        pace = seconds_per_step(newest)
        speeds = [row["images_per_s"] for row in newest if row.get("images_per_s")]
        return RunPace(
            is_measured=bool(newest),
            warnings=warnings + _damage(run, followed),
            images_per_s=speeds[-1] if speeds else None,
            seconds_left=pace * (status.num_steps - status.step) if pace else None,
            best_step=_best_step(rows, run.checkpoints()) if warnings else None,
        )

    def feed(self, run_id: str, after: Bookmark) -> RunFeed:
        """The rows after a bookmark (`Bookmark()` for all), and what is needed to draw them."""
        run = self.run(run_id)
        with self._lock:
            followed = self._follow(run)
            events = followed.events.rows()
        return RunFeed(
            page=read_page(run.path / "metrics.jsonl", after),
            pictures_per_step=followed.pictures_per_step,
            resumed=[event["time"] for event in events if event["kind"] == "resumed"],
            warnings=_warnings(events),
            base_scores=run.manifest().get("base_scores", {}),
            is_judge_steering=bool(run.manifest().get("is_judge_steering")),
        )

    def version(self, run_id: str) -> str:
        """A text that changes whenever something shown of the run changes."""
        run = self.run(run_id)
        names = ("metrics.jsonl", "events.jsonl", "about.json")
        marks = [_mark(run.path / name) for name in names]
        status = run.status()
        words = (status.state, status.step, status.num_steps, status.error, status.is_resumable)
        return f"{marks} {words}"

    def mark(self) -> int:
        """A number that changes with anything shown of any run; few files are read."""
        runs = sorted(self.folder.glob("*/config.yaml"))
        marks = [_mark(path.with_name(name)) for path in runs for name in SHOWN_FILES]
        active = [path for path, (_, one) in [*self._reported.items()] if one.status.is_active]
        states = [RunDir(path).status().state for path in active if path.exists()]  # may be killed
        return hash((*runs, *marks, *states))

    def _follow(self, run: RunDir) -> _Followed:
        if run.path not in self._followed:
            config = run.config()
            num = config.batch_size * config.gradient_accumulation
            metrics, events = (
                Follower(run.path / f"{name}.jsonl") for name in ("metrics", "events")
            )
            self._followed[run.path] = _Followed(metrics, events, num)
        self._followed.move_to_end(run.path)
        while len(self._followed) > NUM_FOLLOWED:
            self._followed.popitem(last=False)
        return self._followed[run.path]

    def _newest(self, run: RunDir) -> dict[str, float | None]:
        """Reward and judge of the newest evaluation, read again only when the file has changed."""
        path = run.path / "metrics.jsonl"
        mark = _mark(path)
        known, results = self._results.get(path, (None, {}))
        if mark is None:
            return {}
        if mark != known:
            rows = [row for row in last_rows(path) if "eval/reward" in row]
            results = newest(rows[-1]) if rows else results
            self._results[path] = (mark, results)
        return results


def newest(row: dict[str, Any]) -> dict[str, float | None]:
    """`reward` and `judge` of an evaluated row of metrics."""
    judged = [value for name, value in row.items() if name.startswith("heldout/")]
    return {"reward": row["eval/reward"], "judge": judged[0] if judged else None}


def _warnings(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each kind and step once, in order."""
    warnings = {(e["warning"], e["step"]): e for e in events if e["kind"] == "warning"}
    return list(warnings.values())


def _best_step(rows: list[dict[str, Any]], checkpoints: list[Path]) -> int | None:
    evaluated = {row["step"]: newest(row)["judge"] for row in rows if "eval/reward" in row}
    judged = {step: judge for step, judge in evaluated.items() if judge is not None}
    kept = {int(path.name.removeprefix("step_")) for path in checkpoints}
    best = max(kept & judged.keys(), key=lambda step: judged[step], default=0)
    return best if 0 in judged and judged[best] > judged[0] else None


def _damage(run: RunDir, followed: _Followed) -> list[dict[str, Any]]:
    """A warning where lines of a run's files are left out."""
    num = followed.metrics.num_damaged + followed.events.num_damaged
    words = f"{num} damaged lines are left out. Repair: python -m rocm runs repair {run.path.name}"
    return [{"step": 0, "warning": "damaged", "message": words}] if num else []


def seconds_per_step(rows: list[dict[str, Any]]) -> float | None:
    """Median time between the last twenty updates, None before there are two."""
    times = [row["time"] for row in rows if row["step"] > 0][-20:]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return median(gaps) if gaps else None


def _mark(path: Path) -> Mark | None:
    """What changes with a file: time in nanoseconds, size, number; None without the file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
