"""The comparison desk of one home: what can be compared, what it would take, what came of it."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rocm.algorithms.intervals import Interval
from rocm.errors import RunError
from rocm.evaluation.efficiency import COSTS, Curve, curve
from rocm.evaluation.formats import FORMATS, words
from rocm.evaluation.plan import Plan, describe, plan
from rocm.evaluation.request import ASK_ABOVE, AXES, MAX_PROMPTS, SETS, Request, prompt_set
from rocm.evaluation.sheet import bundle, sheet
from rocm.evaluation.store import Comparisons, Result, Status
from rocm.evaluation.table import Row, Table, make_table
from rocm.generation.queue import DrawingQueue
from rocm.rewards.names import measurable
from rocm.runs.adapters import BASE, RUN, WEIGHTS, shipped_adapters
from rocm.runs.run_dir import RunDir

if TYPE_CHECKING:
    from rocm.generation.shared import SharedQueue

__all__ = [
    "ASK_ABOVE",
    "AXES",
    "BASE",
    "MAX_PROMPTS",
    "SETS",
    "Choice",
    "CompareDesk",
    "Curve",
    "Interval",
    "Plan",
    "Request",
    "Row",
    "Status",
    "Table",
    "measurable",
    "prompt_set",
    "words",
]

NUM_FIRST_PROMPTS = 8
FIRST_ARMS = ("tiny-rocm-kl", "tiny-rlcm", "tiny-rocm-beta0")


@dataclass(frozen=True)
class Choice:
    """An arm that the page offers: its name, what a person called it, whether it is a run."""

    name: str
    label: str
    is_run: bool


class CompareDesk:
    """Takes requests, draws and reports; one per app or command."""

    def __init__(self, home: Path, queue: "DrawingQueue | SharedQueue") -> None:
        """Serve one home; pictures are drawn through `queue`."""
        self._runs = home / "runs"
        self._store = Comparisons(home, queue)
        self._packed: TemporaryDirectory[str] | None = None
        self._table: tuple[tuple[str, int], Table] | None = None

    def choices(self) -> list[Choice]:
        """The base model, the adapters that ship, and runs with an adapter, newest first."""
        shipped = [Choice(name, Path(name).name, False) for name in shipped_adapters()]
        files = self._runs.glob(f"*/adapter/{WEIGHTS}")
        newest = sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)
        runs = [RunDir(file.parent.parent) for file in newest]
        named = [Choice(RUN + run.path.name, _label(run), True) for run in runs]
        return [Choice(BASE, "base model", False), *shipped, *named]

    def first_request(self) -> Request:
        """What the page opens on: base model, adapters that ship, a few held-out prompts."""
        order = {name: place for place, name in enumerate(FIRST_ARMS)}
        shipped = sorted(shipped_adapters(), key=lambda one: order.get(Path(one).name, len(order)))
        prompts = prompt_set("held-out", NUM_FIRST_PROMPTS, 0)
        return Request((BASE, *shipped), tuple(prompts))

    def plan(self, request: Request, is_public: bool = False) -> Plan:
        """The pictures that a request asks for; RocmError as `rocm.evaluation.plan.plan`."""
        return plan(request, self._runs, is_public)

    def question(self, made: Plan) -> str:
        """What a large comparison would take, to be agreed to first; empty for a small one."""
        if made.num_pictures <= ASK_ABOVE:
            return ""
        return f"{describe(made, self._store.pace())}."

    def draw(self, made: Plan, request: Request, is_public: bool = False) -> str:
        """Draw what is missing of the plan of a request; returns its key at once."""
        return self._store.draw(made, request, is_public)

    def cancel(self, key: str) -> None:
        """Draw no more of it; what is drawn stays."""
        self._store.cancel(key)

    def keys(self) -> list[str]:
        """Comparisons of this home, the one asked for last first."""
        return self._store.keys()

    def planned(self, key: str) -> Plan:
        """The plan of a comparison; MissingFile if there is none of that key."""
        return self._store.plan(key)

    def asked(self, key: str) -> Request:
        """The request that a comparison answers, as it was given last."""
        return self._store.asked(key)[1]

    def status(self, key: str) -> Status:
        """How far a comparison is."""
        return self._store.status(key)

    def wait(self, key: str, seconds: float) -> Status:
        """The status after at most `seconds`, earlier if it has ended."""
        return self._store.wait(key, seconds)

    def results(self, key: str, after: int = 0) -> list[Result]:
        """Pictures in the order in which they were drawn, but for the first `after`."""
        return self._store.results(key, after)

    def picture(self, key: str, index: int) -> Path | None:
        """File of a picture, None before it is drawn."""
        return self._store.picture(key, index)

    def table(self, key: str) -> Table:
        """Figures of what is drawn so far; the newest table is remembered."""
        results = self._store.results(key)
        if self._table is None or self._table[0] != (key, len(results)):
            self._table = (key, len(results)), make_table(self._store.plan(key), results)
        return self._table[1]

    def table_text(self, key: str, ending: str) -> str:
        """The table as `csv`, `json`, `md` or `tex`."""
        return FORMATS[ending](self.table(key))

    def sheet(self, key: str) -> bytes:
        """What is drawn as one labelled PNG; MissingFile if nothing is."""
        return sheet(self._store.plan(key), self._store.results(key))

    def bundle(self, key: str) -> Path:
        """A zip with all that is drawn, kept as long as this object; MissingFile if nothing is."""
        # Gradio hands out files of the temporary folder only, and a home may lie anywhere.
        self._packed = self._packed or TemporaryDirectory(prefix="rocm-compare-")
        path = Path(self._packed.name) / f"compare-{key}.zip"
        return bundle(self._store.plan(key), self._store.results(key), path)

    def curves(self, key: str, cost: str) -> dict[str, Curve]:
        """Reward against cost of every run among the arms, by label; cost is of `COSTS`."""
        found = {one.run_id: one.label for one in self._store.plan(key).columns if one.run_id}
        runs = {label: RunDir(self._runs / run_id) for run_id, label in found.items()}
        curves = {label: curve(run.metrics(), cost) for label, run in runs.items()}
        return {label: one for label, one in curves.items() if one.cost}

    @staticmethod
    def costs() -> list[str]:
        """What `curves` can count in."""
        return list(COSTS)


def _label(run: RunDir) -> str:
    try:
        title = run.about().get("title", "")
    except RunError:  # damaged; the list of runs says how
        title = ""
    return f"{title}: {run.path.name}" if title else run.path.name
