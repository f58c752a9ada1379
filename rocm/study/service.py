"""All that the Study page asks for: what `python -m rocm study` does, without a terminal.

The page's process draws through the app's drawing queue and simulates power in a process of its
own, so that nothing here holds up a vote for longer than a glance at the tables.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from rocm.errors import StudyError
from rocm.generation.queue import DrawingQueue
from rocm.storage.paths import ROOT
from rocm.study.archive.bin import Deleted, DraftBin
from rocm.study.archive.pack import pack
from rocm.study.design import lifecycle
from rocm.study.design.background import Builder, Building
from rocm.study.design.form import TYPED, WISHES, Wish, recipe_of
from rocm.study.design.outlook import SECONDS_PER_PAIR, Plan, planned
from rocm.study.design.recipe import Consent, Question, Recipe
from rocm.study.report.effects import Widths, num_flagged, widths
from rocm.study.report.progress import RECENT_MINUTES, Standing, precision, standing
from rocm.study.statistics.power import NUM_SIMULATIONS, Power
from rocm.study.store import invitations
from rocm.study.store.backup import Backup
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.study.store.studies import StudyInfo

__all__ = [
    "RECENT_MINUTES",
    "SECONDS_PER_PAIR",
    "TYPED",
    "WISHES",
    "Building",
    "Consent",
    "Deleted",
    "Listed",
    "Look",
    "Outlook",
    "PairView",
    "Plan",
    "Power",
    "Question",
    "Recipe",
    "Standing",
    "StudyDesk",
    "StudyInfo",
    "Widths",
    "Wish",
    "precision",
]

DEMO = ROOT / "assets" / "demo-study.yaml"
SHOWN = ("to be voted on", "struck", "practice", "checks", "all")
PER_PAGE = 24


@dataclass(frozen=True)
class Listed:
    """A study in the list.

    Attributes:
        study_id: 12 hexadecimal digits.
        title: that raters read.
        state: `unfinished` (not all is drawn), draft, open, paused or closed.
        is_demo: its votes are marked as a demonstration's.
        num_pairs: to be voted on.
        num_raters: that have come, pilots apart.
        num_votes: stored.
    """

    study_id: str
    title: str
    state: str
    is_demo: bool
    num_pairs: int
    num_raters: int
    num_votes: int


@dataclass(frozen=True)
class Look:
    """A study looked at.

    Attributes:
        about: title, manifest, texts.
        state: as in `Listed`.
        now: figures.
        building: its build, if this app has one.
        num_flagged: raters with something unusual; None while nothing is frozen.
        num_invited: invitations made; from the first one on nobody else comes in.
        backup: how far it is, in words; empty where there is none.
    """

    about: StudyInfo
    state: str
    now: Standing
    building: Building | None
    num_flagged: int | None
    num_invited: int
    backup: str


@dataclass(frozen=True)
class PairView:
    """A pair as the researcher sees it before opening: no arm is named."""

    pair_id: int
    kind: str
    struck: str
    prompt: str
    picture_a: str
    picture_b: str


@dataclass(frozen=True)
class Outlook:
    """What a design takes, and what it would find."""

    plan: Plan
    assumptions: str
    rows: list[Power]


class StudyDesk:
    """Studies of one home; one per app."""

    def __init__(
        self, home: Path, store: Store, queue: DrawingQueue, backup: Backup | None = None
    ) -> None:
        """Serve one store.

        Args:
            home: folder of everything.
            store: of the votes.
            queue: that draws.
            backup: of the store, where there is one.
        """
        self._home, self._store, self._backup = home, store, backup
        self._pictures = Pictures(home / "study-pictures")
        self._builder = Builder(home, store, queue)
        self._bin = DraftBin(home, store)
        self._lock = Lock()
        self._flags: dict[str, tuple[int, int]] = {}
        self._packed: TemporaryDirectory[str] | None = None

    # Looking

    def studies(self) -> list[Listed]:
        """Every study, newest first."""
        return [self._listed(one) for one in self._store.studies()]

    def _listed(self, about: StudyInfo) -> Listed:
        now = standing(self._store, about.study_id)
        return Listed(
            about.study_id,
            about.title,
            _state(about, now),
            about.is_demo,
            now.num_pairs,
            sum(now.raters.values()),
            now.num_votes,
        )

    def look(self, study_id: str) -> Look:
        """A study now; StudyError if there is none."""
        about, now = self._store.study(study_id), standing(self._store, study_id)
        is_frozen = about.status != "draft"
        return Look(
            about,
            _state(about, now),
            now,
            self._builder.status(study_id),
            self._num_flagged(study_id, now.num_votes) if is_frozen else None,
            len(invitations.invited(self._store, study_id)),
            self._backup.status().words(datetime.now(UTC)) if self._backup else "",
        )

    def _num_flagged(self, study_id: str, num_votes: int) -> int:
        """Counted again once a tenth more votes are there, so that a poll costs next to nothing."""
        with self._lock:
            counted_at, found = self._flags.get(study_id, (-1, 0))
            if counted_at < 0 or num_votes > counted_at + max(10, counted_at // 10):
                found = num_flagged(self._store, study_id)
                self._flags[study_id] = (num_votes, found)
            return found

    def pairs(self, study_id: str, shown: str, page: int) -> tuple[list[PairView], int]:
        """Pairs to look through.

        Args:
            study_id: of the study.
            shown: which, of `SHOWN`.
            page: from 0; one that is too large is the last.

        Returns:
            At most `PER_PAGE` pairs, and the number of pages.
        """
        kinds = {"to be voted on": "main", "practice": "practice", "checks": "check"}
        rows = [
            PairView(one.id, one.kind, one.struck or "", one.text, one.picture_a, one.picture_b)
            for one in lifecycle.pairs(self._store, study_id)
            if shown in ("all", "struck") or one.kind == kinds.get(shown)
        ]
        rows = [one for one in rows if shown != "struck" or one.struck]
        num_pages = max(1, ceil(len(rows) / PER_PAGE))
        first = min(max(page, 0), num_pages - 1) * PER_PAGE
        return rows[first : first + PER_PAGE], num_pages

    # Building

    def demo(self) -> str:
        """Build the demonstration, or find the one that is there and not closed.

        Returns:
            Id of the study; one that is open or paused is left as it is.

        Raises:
            RocmError: another study is being built, or a shipped adapter is missing.
        """
        recipe = Recipe.load(DEMO)
        of_seed = {
            int(self._store.study(one.study_id).config["seed"]): one
            for one in self.studies()
            if one.is_demo and one.title == recipe.title
        }
        seed = recipe.seed
        while seed in of_seed and of_seed[seed].state == "closed":
            seed += 1
        known = of_seed.get(seed)
        building = self._builder.status(known.study_id) if known else None
        is_at_work = building is not None and building.state == "drawing"
        if known and (known.state != "unfinished" or is_at_work):
            return known.study_id
        return self._builder.start(recipe.model_copy(update={"seed": seed}))

    def recipe_of(self, wish: Wish) -> Recipe:
        """The recipe that a form asks for; RocmError as `rocm.study.design.form.recipe_of`."""
        return recipe_of(wish, self._home)

    def recipe_text(self, study_id: str) -> str:
        """The study.yaml that a study was begun with; StudyError if it is not kept here."""
        return self._builder.recipe(study_id).text()

    def build(self, recipe: Recipe) -> str:
        """Begin to draw a study; returns its id at once. RocmError as `Builder.start`."""
        return self._builder.start(recipe)

    def go_on(self, study_id: str) -> None:
        """Draw what is missing of a draft; RocmError as `Builder.go_on`."""
        self._builder.go_on(study_id)

    def cancel(self, study_id: str) -> None:
        """Draw no more of a draft; what is drawn stays."""
        self._builder.cancel(study_id)

    def delete(self, study_id: str) -> None:
        """Move a draft to the bin; StudyError if it is being built, or was opened."""
        building = self._builder.status(study_id)
        if building and building.state == "drawing":
            raise StudyError("The study is being built. Cancel the build first.")
        self._bin.put(study_id)

    def deleted(self) -> list[Deleted]:
        """Drafts in the bin, last deleted first."""
        return self._bin.drafts()

    def take_back(self, study_id: str) -> None:
        """Take a draft out of the bin; RocmError as `DraftBin.take_out`."""
        self._bin.take_out(study_id)

    def empty_bin(self) -> int:
        """Delete for good what is in the bin; returns how many drafts that were."""
        return self._bin.empty()

    # Before opening

    def strike(self, study_id: str, pair_id: int, reason: str | None) -> None:
        """Leave a pair out, or with None take it in again; StudyError as `lifecycle.strike`."""
        lifecycle.strike(self._store, study_id, pair_id, reason)

    def outlook(
        self,
        study_id: str,
        seconds_per_pair: float,
        pay_per_hour: float,
        num_simulations: int = NUM_SIMULATIONS,
    ) -> Outlook:
        """What a study takes and can tell; simulated in another process, for some seconds.

        Args:
            study_id: of the study.
            seconds_per_pair: for all questions about one pair, > 0.
            pay_per_hour: in any currency, >= 0.
            num_simulations: simulated studies for each true score.

        Returns:
            The outlook.

        Raises:
            StudyError: no pair is left, or a number is out of its bounds.
        """
        plan = planned(self._store, study_id, seconds_per_pair, pay_per_hour)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            rows = other.submit(plan.simulate, num_simulations).result()
        return Outlook(plan, plan.assumptions(num_simulations), rows)

    def open(self, study_id: str) -> str:
        """Freeze a draft and let raters in; the manifest's sha256. StudyError if it is no draft."""
        about = self._store.study(study_id)
        if _state(about, standing(self._store, study_id)) == "unfinished":
            raise StudyError("The study is not drawn to the end. Go on with the build first.")
        return lifecycle.open_study(self._store, study_id)

    def invite(self, study_id: str, num: int) -> list[str]:
        """A secret for each of so many invited raters; StudyError as `invitations.invite`."""
        return invitations.invite(self._store, study_id, num)

    # While it runs

    def pause(self, study_id: str) -> None:
        """Give out no more pairs; StudyError if it is not open."""
        lifecycle.pause(self._store, study_id)

    def resume(self, study_id: str) -> None:
        """Give out pairs again; StudyError if it is not paused."""
        lifecycle.resume(self._store, study_id)

    def close(self, study_id: str) -> None:
        """End a study for good; StudyError if it does not run."""
        lifecycle.close(self._store, study_id)

    def add_raters(self, study_id: str, num_raters: int) -> int:
        """Plan work for more raters; returns how many votes this adds. RocmError as `lifecycle`."""
        return lifecycle.add_raters(self._store, study_id, num_raters)

    def widths(self, study_id: str, num_more: int) -> Widths:
        """What closing now, going on, and more raters make of the intervals."""
        needed = max(1, standing(self._store, study_id).num_raters_needed)
        return widths(self._store, study_id, needed, num_more)

    def pack(self, study_id: str) -> Path:
        """A zip for a machine that only collects votes, kept as long as this object.

        Args:
            study_id: of a study that is frozen.

        Returns:
            The file; the key that names the arms stays behind.

        Raises:
            StudyError: a draft, or the file cannot be written.
        """
        # Gradio hands out files of the temporary folder only, and a home may lie anywhere.
        self._packed = self._packed or TemporaryDirectory(prefix="rocm-study-")
        target = Path(self._packed.name) / f"study-{study_id}.zip"
        key = pack(self._store, self._pictures, study_id, target)
        key.unlink(missing_ok=True)  # the store has it, and nothing beside the zip may name arms
        return target


def _state(about: StudyInfo, now: Standing) -> str:
    has_pairs = bool(now.num_pairs or now.num_struck)
    return "unfinished" if about.status == "draft" and not has_pairs else about.status
