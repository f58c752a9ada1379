"""Comparisons of one home, drawn by the drawing process and kept under a hash of their content.

KEY/comparison.json   the plan
KEY/results.jsonl     one line for each picture that is drawn: index, scores
KEY/pictures/         00000.png ..., each with its settings inside
KEY/end.json          how it ended, how long a picture took

Equal plans have the same name, so asking again draws only the missing pictures.
"""

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from rocm.errors import DrawingError, MissingFile, RocmError, RunError
from rocm.evaluation.efficiency import Curve, curve
from rocm.evaluation.plan import PLAN, ComparisonPlan, Pace, Result, describe
from rocm.evaluation.request import ASK_ABOVE, Request
from rocm.evaluation.sheet import bundle, sheet
from rocm.evaluation.table import ComparisonTable, make_table
from rocm.generation.queue import DrawingQueue
from rocm.generation.sliced import SlicedQueue
from rocm.runs.run_dir import RunDir
from rocm.storage import files

if TYPE_CHECKING:
    from rocm.generation.shared import SharedQueue

KEY = re.compile(r"[0-9a-f]{16}")
REQUEST = TypeAdapter(Request)
CHUNK = 64
MAX_ACTIVE = 4
MAX_PUBLIC_KEPT = 50

State = Literal["drawing", "finished", "cancelled", "failed", "unfinished"]


@dataclass(frozen=True)
class Status:
    """State of a comparison; `unfinished` if the app died while drawing."""

    state: State
    num_drawn: int
    num_pictures: int
    error: str = ""
    seconds: float = 0.0
    detail: str = ""


@dataclass
class _Job:
    plan: ComparisonPlan
    folder: Path
    number: int = 0
    is_cancelled: bool = False
    asked: float = field(default_factory=time.monotonic)
    first: float = 0.0
    num_new: int = 0


class Comparisons:
    """Draws comparisons, keeps them and reports on them; one per app or command."""

    def __init__(self, home: Path, queue: "DrawingQueue | SharedQueue") -> None:
        """Keep comparisons below `home`/comparisons and draw through `queue`."""
        self.path = home / "comparisons"
        self.runs = home / "runs"
        self._queue = queue
        self._lock = Lock()
        self._active: dict[str, _Job] = {}
        self._packed: TemporaryDirectory[str] | None = None
        self._table: tuple[tuple[str, int], ComparisonTable] | None = None

    def question(self, plan: ComparisonPlan) -> str:
        """What a large comparison costs, to be confirmed first; empty for a small one."""
        return describe(plan, self.pace()) if plan.num_pictures > ASK_ABOVE else ""

    def draw(self, plan: ComparisonPlan, request: Request, is_public: bool = False) -> str:
        """Draw the missing pictures of a comparison; returns its key at once.

        `request` is kept to fill the page's form. On a public page old comparisons are dropped, so
        that visitors cannot fill the disk. DrawingError if too many comparisons are being drawn.
        """
        folder = self.path / plan.key
        with self._lock:
            if plan.key in self._active:
                return plan.key
            if len(self._active) >= MAX_ACTIVE:
                raise DrawingError(
                    f"{MAX_ACTIVE} comparisons are being drawn. Wait for one, or cancel it."
                )
            files.make_folder(folder / "pictures")
            record = {**asdict(plan), "request": asdict(request)}
            files.write_atomic(folder / "comparison.json", json.dumps(record, indent=1))
            _mend(folder)
            job = self._active[plan.key] = _Job(plan, folder)
            if is_public:
                self._drop_oldest()
        Thread(target=self._work, args=(job,), daemon=True, name="comparison").start()
        return plan.key

    @property
    def are_lent(self) -> bool:
        """Whether whoever asks for a comparison must lend the GPU for it."""
        return isinstance(self._queue, SlicedQueue)

    def lend(self, key: str) -> None:
        """Draw a comparison to its end with the GPU time of the visitor whose request this is."""
        while key and isinstance(self._queue, SlicedQueue):
            with self._lock:
                job = self._active.get(key)
            if job is None:
                return
            if not self._queue.lend(job.number):
                time.sleep(0.05)  # between two requests of the comparison

    def cancel(self, key: str) -> None:
        """Stop drawing a comparison; drawn pictures stay. No effect on one that has ended."""
        with self._lock:
            job = self._active.get(key)
            if job:
                job.is_cancelled = True
                self._queue.cancel(job.number)

    def plan(self, key: str) -> ComparisonPlan:
        """The plan of a comparison; MissingFile if it does not exist."""
        return self._read(key)[0]

    def request(self, key: str) -> Request:
        """The request that a comparison answers, as given last."""
        return self._read(key)[1]

    def _read(self, key: str) -> tuple[ComparisonPlan, Request]:
        path = self._folder(key) / "comparison.json"
        record = files.read_record(path, {})
        if record is None:
            raise MissingFile(f"There is no comparison '{key[:40]}' here. Compare again.")
        try:
            return PLAN.validate_python(record), REQUEST.validate_python(record.get("request"))
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"])) or "request"
            raise RunError(f"{path} is damaged ({place}).") from error

    def keys(self) -> list[str]:
        """Keys of all comparisons, last requested first."""
        changed = lambda file: file.stat().st_mtime  # noqa: E731
        documents = sorted(self.path.glob("*/comparison.json"), key=changed, reverse=True)
        return [file.parent.name for file in documents if KEY.fullmatch(file.parent.name)]

    def status(self, key: str) -> Status:
        """How far a comparison is."""
        total, num = self.plan(key).num_pictures, len(_complete_lines(self._folder(key)))
        with self._lock:
            job = self._active.get(key)
        if job:
            queued = self._queue.status(job.number)
            detail = queued.state if queued else ""
            return Status("drawing", num, total, "", time.monotonic() - job.asked, detail)
        end = files.read_record(self._folder(key) / "end.json", {}) or {}
        state = end.get("state", "unfinished")
        return Status(state, num, total, end.get("error", ""), end.get("seconds", 0.0))

    def results(self, key: str, after: int = 0) -> list[Result]:
        """Pictures in the order in which they were drawn, without the first `after`."""
        folder = self._folder(key)
        lines = _complete_lines(folder)[after:]
        rows = files.parse_lines(folder / "results.jsonl", b"\n".join(lines))
        return [Result(row["index"], _file(folder, row["index"]), row["scores"]) for row in rows]

    def picture(self, key: str, index: int) -> Path | None:
        """File of a picture, None before it is drawn."""
        file = _file(self._folder(key), index)
        return file if file.is_file() else None

    def wait(self, key: str, seconds: float) -> Status:
        """The status after at most `seconds`, earlier if it has ended."""
        deadline = time.monotonic() + seconds
        while (status := self.status(key)).state == "drawing" and time.monotonic() < deadline:
            time.sleep(0.05)
        return status

    def pace(self) -> Pace | None:
        """Time and size per picture in the newest finished comparison; None without one."""
        for key in self.keys():
            end = files.read_record(self._folder(key) / "end.json", {}) or {}
            if end.get("pace"):
                return Pace(end["pace"], end["bytes"])
        return None

    def table(self, key: str) -> ComparisonTable:
        """Figures of the pictures drawn so far; the newest table is cached."""
        results = self.results(key)
        if self._table is None or self._table[0] != (key, len(results)):
            self._table = (key, len(results)), make_table(self.plan(key), results)
        return self._table[1]

    def sheet(self, key: str) -> bytes:
        """The drawn pictures as one labeled PNG; MissingFile if there are none."""
        return sheet(self.plan(key), self.results(key))

    def bundle(self, key: str) -> Path:
        """A zip of everything drawn, kept as long as this object; MissingFile if there is none."""
        # Gradio serves files of the temporary folder only, and a home may lie anywhere.
        self._packed = self._packed or TemporaryDirectory(prefix="rocm-compare-")
        path = Path(self._packed.name) / f"compare-{key}.zip"
        return bundle(self.plan(key), self.results(key), path)

    def curves(self, key: str, cost: str) -> dict[str, Curve]:
        """Reward against cost (of `COSTS`) of every run among the arms, by label."""
        columns = [column for column in self.plan(key).columns if column.run_id]
        runs = {column.run_id: column.label for column in columns}
        curves = {
            label: curve(RunDir(self.runs / run_id).metrics(), cost)
            for run_id, label in runs.items()
        }
        return {label: line for label, line in curves.items() if line.cost}

    def _work(self, job: _Job) -> None:
        state, error = "finished", ""
        try:
            try:
                self._draw_missing(job)
            except RocmError as reason:
                state, error = "failed", str(reason)
            if job.is_cancelled:
                state, error = "cancelled", ""
            with suppress(RocmError):  # a full disk: the comparison then reads as unfinished
                self._write_end(job, state, error)
        finally:
            with self._lock:
                del self._active[job.plan.key]

    def _draw_missing(self, job: _Job) -> None:
        drawn = {result.index for result in self.results(job.plan.key)}
        missing = [index for index in range(job.plan.num_pictures) if index not in drawn]
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            pictures = [job.plan.picture(index) for index in chunk]
            with self._lock:
                if job.is_cancelled:
                    return
                job.number = self._queue.submit(pictures, job.folder / "coming", job.plan.measures)
            for position, file, scores in self._queue.results(job.number):
                self._keep(job, chunk[position], file, scores)

    @staticmethod
    def _keep(job: _Job, index: int, file: Path, scores: dict[str, float]) -> None:
        job.first = job.first or time.monotonic()
        job.num_new += 1
        os.replace(file, _file(job.folder, index))
        files.append_json_line(job.folder / "results.jsonl", {"index": index, "scores": scores})

    def _write_end(self, job: _Job, state: str, error: str) -> None:
        now = time.monotonic()
        end: dict[str, Any] = {"state": state, "error": error, "seconds": now - job.asked}
        if job.num_new > 1:
            sizes = [result.file.stat().st_size for result in self.results(job.plan.key)]
            end["pace"] = (now - job.first) / (job.num_new - 1)
            end["bytes"] = sum(sizes) / len(sizes)
        elif old := files.read_record(job.folder / "end.json", {}):
            end = {**old, "state": state, "error": error}
        files.write_atomic(job.folder / "end.json", json.dumps(end))

    def _drop_oldest(self) -> None:
        for key in self.keys()[MAX_PUBLIC_KEPT:]:
            if key not in self._active:
                shutil.rmtree(self.path / key, ignore_errors=True)

    def _folder(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise MissingFile(f"There is no comparison '{key[:40]}' here. Compare again.")
        return self.path / key


def _mend(folder: Path) -> None:
    """Keep one line for each existing picture: a crash may have torn or doubled lines."""
    path = folder / "results.jsonl"
    rows = {row["index"]: row for row in files.read_json_lines(path)}
    kept = [files.json_line(row) for index, row in rows.items() if _file(folder, index).is_file()]
    files.write_atomic(path, "".join(kept))


def _complete_lines(folder: Path) -> list[bytes]:
    """Whole lines of results.jsonl, not parsed."""
    path = folder / "results.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []


def _file(folder: Path, index: int) -> Path:
    return folder / "pictures" / f"{index:05d}.png"
