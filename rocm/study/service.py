"""The studies of one home, as the Study page needs them."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from rocm.errors import StudyError
from rocm.generation.queue import DrawingQueue
from rocm.storage.paths import ROOT
from rocm.study.archive.bin import DraftBin
from rocm.study.archive.pack import pack
from rocm.study.design import lifecycle
from rocm.study.design.background import Builds, BuildStatus
from rocm.study.design.build import DRAWN_ELSEWHERE, is_drawn_elsewhere
from rocm.study.design.cost import StudyCost
from rocm.study.design.recipe import Recipe
from rocm.study.report.progress import StudyProgress, study_progress
from rocm.study.report.stored import Widths, watched_raters, widths
from rocm.study.statistics.power import NUM_SIMULATIONS, Power, power
from rocm.study.statistics.simulate import Design, Utility
from rocm.study.store.backup import Backup, NoBackup
from rocm.study.store.invitations import invited
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.study.store.studies import StudyContext

DEMO = ROOT / "assets" / "demo-study.yaml"
KINDS = {"main": "main", "excluded": "", "practice": "practice", "checks": "check", "all": ""}
PER_PAGE = 24


@dataclass(frozen=True)
class StudyStatus:
    """A study at one moment."""

    info: StudyContext  # title, manifest, texts
    state: str  # building (by this app), building elsewhere, unfinished (and nobody draws it),
    # draft, open, paused or closed
    progress: StudyProgress  # counts of pairs, raters and votes


@dataclass(frozen=True)
class StudyDetails(StudyStatus):
    """A study as the page shows it."""

    build: BuildStatus | None  # its build, if there is one in this app
    watched: tuple[int, int] | None  # flagged and excluded raters; None for a draft
    num_invited: int  # invitations; from the first one on, nobody else can take part
    backup: str  # state of the backup in words; empty without one


@dataclass(frozen=True)
class PairRow:
    """A pair as the researcher sees it before opening: without names of arms."""

    pair_id: int
    kind: str
    struck: str
    prompt: str
    picture_a: str
    picture_b: str


class Studies:
    """Studies of one home; one per app. `builds` draw in the background, `bin` has drafts."""

    def __init__(
        self, home: Path, store: Store, queue: DrawingQueue, backup: Backup | NoBackup | None = None
    ):
        """Studies of one store; pictures are drawn through `queue`."""
        self.home, self.store, self._backup = home, store, backup
        self.builds = Builds(home, store, queue)
        self.bin = DraftBin(home, store)
        self._lock = Lock()
        self._watched_at: dict[str, tuple[int, tuple[int, int]]] = {}
        self._packed: TemporaryDirectory[str] | None = None

    def statuses(self) -> list[StudyStatus]:
        """Every study, newest first."""
        return [self._status(info) for info in self.store.studies()]

    def mark(self) -> int:
        """A number that changes with anything shown of any study."""
        statuses = self.statuses()
        shown = [(one.info.study_id, one.state, one.progress) for one in statuses]
        builds = [self.builds.status(study_id) for study_id, *_ in shown]
        return hash((repr(shown), *builds, self._backup_words()))

    def _backup_words(self) -> str:
        return self._backup.status().words(datetime.now(UTC)) if self._backup else ""

    def _status(self, info: StudyContext) -> StudyStatus:
        state = info.status
        progress = study_progress(self.store, info.study_id)
        if state == "draft" and self.builds.is_drawing(info.study_id):
            state = "building"
        elif state == "draft" and is_drawn_elsewhere(self.home, info.study_id):
            state = "building elsewhere"
        elif state == "draft" and not progress.num_pairs and not progress.num_struck:
            state = "unfinished"
        return StudyStatus(info, state, progress)

    def details(self, study_id: str) -> StudyDetails:
        """A study now; StudyError if there is no such study."""
        status = self._status(self.store.study(study_id))
        is_frozen = status.info.status != "draft"
        return StudyDetails(
            **vars(status),
            build=self.builds.status(study_id),
            watched=self._watched(status) if is_frozen else None,
            num_invited=len(invited(self.store, study_id)),
            backup=self._backup_words(),
        )

    def _watched(self, status: StudyStatus) -> tuple[int, int]:
        """Counted again once there are a tenth more votes, so that a poll stays cheap."""
        study_id, num_votes = status.info.study_id, status.progress.num_votes
        with self._lock:
            counted_at, nums = self._watched_at.get(study_id, (-1, (0, 0)))
            if counted_at < 0 or num_votes > counted_at + max(10, counted_at // 10):
                nums = watched_raters(self.store, study_id)
                self._watched_at[study_id] = (num_votes, nums)
            return nums

    def pairs(self, study_id: str, kind: str, page: int) -> tuple[list[PairRow], int]:
        """At most `PER_PAGE` pairs of a kind of `KINDS`, page from 0, and the number of pages."""
        rows = [
            PairRow(row.id, row.kind, row.struck or "", row.text, row.picture_a, row.picture_b)
            for row in lifecycle.pairs(self.store, study_id)
            if KINDS[kind] in ("", row.kind) and (row.struck or kind != "excluded")
        ]
        num_pages = max(1, ceil(len(rows) / PER_PAGE))
        first = min(max(page, 0), num_pages - 1) * PER_PAGE
        return rows[first : first + PER_PAGE], num_pages

    def demo(self) -> str:
        """Id of the demo study that is not closed; a missing one is built, as `Builds.start`."""
        recipe = Recipe.load(DEMO)
        by_seed = {
            int(status.info.config["seed"]): status
            for status in self.statuses()
            if status.info.is_demo and status.info.title == recipe.title
        }
        seed = recipe.seed
        while seed in by_seed and by_seed[seed].state == "closed":
            seed += 1
        known = by_seed.get(seed)
        if known and known.state != "unfinished":
            return known.info.study_id
        return self.builds.start(recipe.model_copy(update={"seed": seed}))

    def delete(self, study_id: str) -> None:
        """Move a draft to the bin; StudyError if it is being built, or was opened."""
        if self.builds.is_drawing(study_id):
            raise StudyError("The study is being built. Cancel the build first.")
        if is_drawn_elsewhere(self.home, study_id):
            raise StudyError(DRAWN_ELSEWHERE)
        self.bin.put(study_id)

    def power(self, cost: StudyCost, num_simulations: int = NUM_SIMULATIONS) -> list[Power]:
        """Power of a design at several true scores, simulated for some seconds in a process."""
        return _simulated(cost.smallest, len(cost.sizes), num_simulations)

    def open(self, study_id: str) -> str:
        """Freeze a draft and let raters in; the manifest's sha256. StudyError if it is no draft."""
        state = self._status(self.store.study(study_id)).state
        if state == "building":
            raise StudyError("The study is being built. Open it when its build is finished.")
        if state == "building elsewhere":
            raise StudyError(DRAWN_ELSEWHERE)
        if state == "unfinished":
            raise StudyError("Some pictures of the study are missing. Resume its build first.")
        return lifecycle.open_study(self.store, study_id)

    def widths(self, study_id: str, num_more: int) -> Widths:
        """Predicted widths of the intervals if the study closes now, goes on, or gets raters."""
        needed = max(1, study_progress(self.store, study_id).num_raters_needed)
        return widths(self.store, study_id, needed, num_more)

    def pack(self, study_id: str) -> Path:
        """A zip of a frozen study, without its key, in a temporary folder while the app runs."""
        # Gradio serves files of the temporary folder only, and a home may lie anywhere.
        self._packed = self._packed or TemporaryDirectory(prefix="rocm-study-")
        target = Path(self._packed.name) / f"study-{study_id}.zip"
        key = pack(self.store, Pictures(self.home / "study-pictures"), study_id, target)
        key.unlink(missing_ok=True)
        return target


@lru_cache(maxsize=100)
def _simulated(design: Design, num_comparisons: int, num_simulations: int) -> list[Power]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        sizes = design, num_comparisons, Utility()
        return pool.submit(power, *sizes, num_simulations=num_simulations).result()
