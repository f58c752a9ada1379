"""The drawing desk of one home: orders from the page, adapters to choose from, history.

Where others can reach the page an order is bounded, names adapters of runs only, and its history is
kept apart for each visitor under a name that nobody else knows.
"""

import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from rocm.config import RunConfig
from rocm.errors import ConfigError, DrawingError, MissingFile, RunError
from rocm.generation.history import Entry, History
from rocm.generation.picture import Picture, check_pictures, command_line, whole_number
from rocm.generation.queue import ENDS, DrawingQueue, Job, JobStatus, State
from rocm.prompts.split import load_prompts
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT

WEIGHTS = "pytorch_lora_weights.safetensors"
RUN = "run:"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
VISITOR = re.compile(r"[0-9a-f]{32}")
MAX_ORDERED = 64
MAX_ORDERED_PUBLIC = 8
MAX_VISITORS = 50
MAX_VISITOR_ENTRIES = 20


@dataclass(frozen=True)
class Order:
    """The settings of the page, which an address can hold too.

    Attributes:
        prompt: text.
        seed: of the first picture; the others follow.
        num_pictures: how many.
        num_inference_steps: N.
        guidance_scale: in diffusers' convention.
        adapter: empty, `run:ID`, or a folder.
        adapter_strength: 0 to 2.
        with_base: draw each picture without the adapter too, from the same noise.
        model: folder; empty for the adapter's own, or the embedded one.
    """

    prompt: str = ""
    seed: int = 0
    num_pictures: int = 4
    num_inference_steps: int = 4
    guidance_scale: float = 8.5
    adapter: str = ""
    adapter_strength: float = 1.0
    with_base: bool = False
    model: str = ""

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Order":
        """An order from the values of an address, those that are known; text becomes numbers.

        Args:
            values: by name.

        Returns:
            The order; a value that is no number of its kind is refused by `check`.
        """
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        if "with_base" in known:
            known["with_base"] = str(known["with_base"]).lower() in ("1", "true")
        return cls(**known)


class Desk:
    """Takes orders, knows adapters, keeps history; one per app."""

    def __init__(self, home: Path, queue: DrawingQueue | None = None):
        """Serve one home folder.

        Args:
            home: of runs and drawings.
            queue: of the drawing process; made here if not given.
        """
        self._runs = home / "runs"
        self._root = home / "generated"
        self.queue = queue or DrawingQueue(self._root / "worker.log")
        self._numbers: dict[str, int] = {}

    def examples(self) -> list[str]:
        """Prompts to begin with: the embedded ones that no run was trained on."""
        return list(load_prompts("embedded", 32, 0).evaluation)

    def adapters(self) -> dict[str, str]:
        """Runs that have an adapter, newest first: what a person called each, by its id."""
        files = self._runs.glob(f"*/adapter/{WEIGHTS}")
        newest = sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)
        runs = [RunDir(file.parent.parent) for file in newest]
        return {run.path.name: _title(run) for run in runs}

    def check(self, order: Order, visitor: str = "") -> tuple[Order, list[Picture], list[bool]]:
        """What an order asks for.

        Args:
            order: as the page or an address has it.
            visitor: secret name where others can reach the page, empty otherwise.

        Returns:
            The order with its values in their types, its pictures, and for each whether it is the
            base model's.

        Raises:
            RocmError: a value that is not allowed, or an adapter that does not exist.
        """
        if visitor and (order.model or not _is_run(order.adapter)):
            raise ConfigError("Here only the embedded model and adapters of runs can be drawn.")
        folder, config = self._adapter(str(order.adapter).strip())
        most = MAX_ORDERED_PUBLIC if visitor else MAX_ORDERED
        num = whole_number("num_pictures", order.num_pictures, 1, most)
        first = Picture(
            prompt=order.prompt,
            seed=order.seed,
            num_inference_steps=order.num_inference_steps,
            guidance_scale=order.guidance_scale,
            grid=config.grid,
            model=order.model.strip() or config.model,
            adapter=folder,
            adapter_strength=order.adapter_strength,
        ).checked()
        pictures = [replace(first, seed=first.seed + offset) for offset in range(num)]
        is_base = [False] * num
        if order.with_base and folder:
            pictures += [replace(picture, adapter="", adapter_strength=1.0) for picture in pictures]
            is_base += [True] * num
        names = ("prompt", "seed", "num_inference_steps", "guidance_scale", "adapter_strength")
        plain = {name: getattr(first, name) for name in names}
        return replace(order, num_pictures=num, **plain), check_pictures(pictures), is_base

    def draw(self, order: Order, visitor: str = "") -> str:
        """Take an order; returns at once.

        Args:
            order: as the page has it.
            visitor: as in `check`.

        Returns:
            Id of its entry in the history.

        Raises:
            RocmError: as in `check`; or the queue is full.
        """
        checked, pictures, is_base = self.check(order, visitor)
        if visitor:
            self._bound_visitors(visitor)
        history = self._history(visitor)
        entry_id, folder = history.create(asdict(checked), pictures, is_base)

        def on_end(job: Job, state: State) -> None:
            history.finish(entry_id, state, job.error, job.seconds)

        try:
            self._numbers[entry_id] = self.queue.submit(pictures, folder, on_end=on_end)
        except DrawingError:
            shutil.rmtree(folder)
            raise
        return entry_id

    def entry(self, entry_id: str, visitor: str = "") -> tuple[Entry, JobStatus | None]:
        """An entry of the history, and its job if it is at work here.

        Args:
            entry_id: of the history.
            visitor: whose history.

        Returns:
            The entry; None as the job of one that has ended, or that another app draws.

        Raises:
            MissingFile: there is no such entry.
        """
        status = self.queue.status(self._numbers.get(entry_id, 0))
        entry = self._history(visitor).entry(entry_id)
        return entry, status if status and status.state not in ENDS else None

    def history(self, visitor: str = "", limit: int = 60) -> list[Entry]:
        """The newest entries; a damaged one is left out.

        Args:
            visitor: whose history.
            limit: how many.

        Returns:
            Entries, newest first.
        """
        history, entries = self._history(visitor), []
        for entry_id in history.ids()[:limit]:
            # A folder deleted meanwhile, or damaged, must not hide the others; it stays on disk.
            with suppress(MissingFile, RunError):
                entries.append(history.entry(entry_id))
        return entries

    def cancel(self, entry_id: str, visitor: str = "") -> None:
        """Draw no more of an order of this visitor."""
        self._history(visitor).entry(entry_id)
        self.queue.cancel(self._numbers.get(entry_id, 0))

    def command(self, entry: Entry) -> str:
        """The command line that draws the entry's pictures, without those of the base model."""
        return command_line(entry.pictures[0], len(entry.pictures) - sum(entry.is_base))

    def archive(self, entry_id: str, visitor: str = "") -> tuple[str, bytes]:
        """All that is drawn of an entry as one file.

        Args:
            entry_id: of the history.
            visitor: whose history.

        Returns:
            A name, and a PNG if there is one picture, else a zip of PNGs.

        Raises:
            MissingFile: no such entry, or nothing is drawn yet.
        """
        entry = self._history(visitor).entry(entry_id)
        if not entry.files:
            raise MissingFile("Nothing is drawn yet, so there is nothing to download.")
        named = {picture_name(entry, index): file for index, file in entry.files.items()}
        if len(named) == 1:
            name, file = named.popitem()
            return name, file.read_bytes()
        buffer = BytesIO()
        with ZipFile(buffer, "w", ZIP_STORED) as bundle:
            for name, file in named.items():
                bundle.write(file, name)
        return f"{_slug(entry.pictures[0].prompt)}.zip", buffer.getvalue()

    def delete(self, entry_id: str, visitor: str = "") -> None:
        """Cancel it if it is at work, and move it into the bin."""
        self.cancel(entry_id, visitor)
        self._history(visitor).delete(entry_id)

    def restore(self, entry_id: str, visitor: str = "") -> None:
        """Take an entry back from the bin."""
        self._history(visitor).restore(entry_id)

    def _history(self, visitor: str) -> History:
        if not visitor:
            return History(self._root)
        if not VISITOR.fullmatch(visitor):
            raise MissingFile("This page is out of date. Reload it.")
        return History(self._root / "visitors" / visitor)

    def _bound_visitors(self, visitor: str) -> None:
        """Keep what visitors may fill of the disk in bounds, and one order each in the queue."""
        history = self._history(visitor)
        for entry_id in history.ids():
            status = self.queue.status(self._numbers.get(entry_id, 0))
            if status and status.state not in ENDS:
                raise DrawingError(
                    "Your last pictures are still being drawn. Wait for them, or cancel them."
                )
        history.drop_oldest(MAX_VISITOR_ENTRIES - 1)
        folders = (self._root / "visitors").glob("*")
        newest = sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in newest[MAX_VISITORS:]:
            if folder.name != visitor:
                shutil.rmtree(folder, ignore_errors=True)

    def _adapter(self, adapter: str) -> tuple[str, RunConfig]:
        """Folder of an adapter, empty for none, and the settings that it was trained with."""
        if not adapter:
            return "", RunConfig()
        if adapter.startswith(RUN):
            run_id = adapter.removeprefix(RUN)
            folder = self._runs / run_id / "adapter"
            if not RUN_ID.fullmatch(run_id) or not (folder / WEIGHTS).is_file():
                raise MissingFile(
                    f"Run '{run_id[:100]}' has no adapter. Choose another run, or none."
                )
            return _short(folder), RunDir(folder.parent).config()
        folder = Path(os.path.expanduser(adapter))
        if not os.path.isfile(folder / WEIGHTS):
            raise MissingFile(f"There is no {WEIGHTS} in '{adapter[:200]}'. Give its folder.")
        return _short(folder), RunConfig()


def picture_name(entry: Entry, index: int) -> str:
    """What a picture's file is called when it leaves: prompt, seed, and `base` for the base's."""
    picture = entry.pictures[index]
    base = "-base" if entry.is_base[index] else ""
    return f"{_slug(picture.prompt)}-{picture.seed}{base}.png"


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "picture"


def _is_run(adapter: str) -> bool:
    return not adapter or adapter.startswith(RUN)


def _title(run: RunDir) -> str:
    try:
        return run.about().get("title", "")
    except RunError:  # damaged; the list of runs says how
        return ""


def _short(folder: Path) -> str:
    """The folder, relative to the project where it lies in it: that works on other machines too."""
    whole = folder.resolve()
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else str(whole)
