"""Orders of the Generate page and their history.

On a public page an order is bounded and names no folder, and each visitor's history is kept under a
secret name.
"""

import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from rocm.config import RunConfig
from rocm.errors import ConfigError, DrawingError, MissingFile, RunError
from rocm.generation.history import Entry, History
from rocm.generation.picture import Picture, whole_number
from rocm.generation.queue import ENDS, DrawingQueue, JobStatus
from rocm.generation.sliced import SlicedQueue
from rocm.runs.adapters import find_adapter

# Settings that a picture takes from the order as they are.
PLAIN = ("prompt", "seed", "num_inference_steps", "guidance_scale", "adapter_strength")
VISITOR = re.compile(r"[0-9a-f]{32}")
MAX_ORDERED = 64
MAX_ORDERED_PUBLIC = 8
MAX_VISITORS = 50
MAX_SHOWN = 60  # entries of a history
MAX_VISITOR_ENTRIES = 20


@dataclass(frozen=True)
class Order:
    """The settings of the page, which an address can hold too."""

    prompt: str = ""
    seed: int = 0  # of the first picture; the others have consecutive seeds
    num_pictures: int = 4
    num_inference_steps: int = 4
    guidance_scale: float = 8.5  # in diffusers' convention
    adapter: str = ""  # any name in docs/models.md; empty for the base model
    adapter_strength: float = 1.0  # 0 to 2
    with_base: bool = False  # draw each picture also without the adapter, from the same noise
    model: str = ""  # folder; empty for the adapter's own model, or the embedded one

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Order":
        """The order in an address: unknown names are left out, `Orders.check` checks the values."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        if "with_base" in known:
            known["with_base"] = str(known["with_base"]).lower() in ("1", "true")
        return cls(**known)


class Orders:
    """Takes orders, draws them through the queue, keeps their history."""

    def __init__(self, home: Path, queue: DrawingQueue):
        """Keep drawings below `home`/generated."""
        self._runs = home / "runs"
        self._root = home / "generated"
        self.queue = queue
        self._jobs: dict[str, int] = {}
        self._ordering = Lock()

    def check(self, order: Order, visitor: str = "") -> tuple[Order, list[Picture], list[bool]]:
        """The order in typed values, its pictures, and whether each is the base model's.

        `visitor` is a secret name on a public page, else empty. RocmError for a bad value.
        """
        if visitor and order.model:
            raise ConfigError("A public page draws with the embedded model only.")
        adapter = find_adapter(str(order.adapter), self._runs, is_public=bool(visitor))
        config = adapter.config or RunConfig()
        most = MAX_ORDERED_PUBLIC if visitor else MAX_ORDERED
        num = whole_number("num_pictures", order.num_pictures, 1, most)
        plain = {name: getattr(order, name) for name in PLAIN}
        model, folder = order.model.strip() or config.model, adapter.folder
        first = Picture(**plain, grid=config.grid, model=model, adapter=folder).checked()
        pictures = first.series(num)
        is_base = [False] * num
        if order.with_base and adapter.folder:
            pictures += [replace(picture, adapter="", adapter_strength=1.0) for picture in pictures]
            is_base += [True] * num
        checked = {name: getattr(first, name) for name in PLAIN}
        return replace(order, num_pictures=num, **checked), pictures, is_base

    def draw(self, order: Order, visitor: str = "") -> str:
        """Take an order; returns its id in the history at once. Errors as `check`, or full."""
        checked, pictures, is_base = self.check(order, visitor)
        with self._ordering:  # two orders of a visitor may come at once
            if visitor:
                self._bound_visitors(visitor)
            history = self._history(visitor)
            entry_id, folder = history.create(asdict(checked), pictures, is_base)
            on_end = partial(history.finish, entry_id)
            try:
                self._jobs[entry_id] = self.queue.submit(pictures, folder, on_end=on_end)
            except DrawingError:
                shutil.rmtree(folder)
                raise
        return entry_id

    def entry(self, entry_id: str, visitor: str = "") -> tuple[Entry, JobStatus | None]:
        """An entry of the visitor's history; its job, or None if it is not being drawn here."""
        status = self._at_work(entry_id)
        return self._history(visitor).entry(entry_id), status

    def history(self, visitor: str = "") -> list[Entry]:
        """The newest entries of the visitor's history, newest first, without damaged ones."""
        history, entries = self._history(visitor), []
        for entry_id in history.ids()[:MAX_SHOWN]:
            # A folder deleted meanwhile, or damaged, must not hide the others; it stays on disk.
            with suppress(MissingFile, RunError):
                entries.append(history.entry(entry_id))
        return entries

    @property
    def are_lent(self) -> bool:
        """Whether whoever orders pictures must lend the GPU for them."""
        return isinstance(self.queue, SlicedQueue)

    def lend(self, entry_id: str) -> None:
        """Draw an order with the GPU time of the visitor in whose request this is called."""
        if isinstance(self.queue, SlicedQueue):
            self.queue.lend(self._jobs.get(entry_id, 0))

    def cancel(self, entry_id: str, visitor: str = "") -> None:
        """Stop drawing an order of this visitor."""
        self._history(visitor).entry(entry_id)
        self.queue.cancel(self._jobs.get(entry_id, 0))

    def archive(self, entry_id: str, visitor: str = "") -> tuple[str, bytes]:
        """File name and content of what is drawn, a PNG or a zip; MissingFile if nothing is."""
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
        """Cancel the order if it is being drawn, and move its entry into the bin."""
        self.cancel(entry_id, visitor)
        self._history(visitor).delete(entry_id)

    def restore(self, entry_id: str, visitor: str = "") -> None:
        """Take an entry back from the bin."""
        self._history(visitor).restore(entry_id)

    def _at_work(self, entry_id: str) -> JobStatus | None:
        status = self.queue.status(self._jobs.get(entry_id, 0))
        return status if status and status.state not in ENDS else None

    def _history(self, visitor: str) -> History:
        if not visitor:
            return History(self._root)
        if not VISITOR.fullmatch(visitor):
            raise MissingFile("This page is out of date. Reload it.")
        return History(self._root / "visitors" / visitor)

    def _bound_visitors(self, visitor: str) -> None:
        """Bound the disk space of visitors, and allow each of them one order at a time."""
        history = self._history(visitor)
        if any(map(self._at_work, history.ids())):
            raise DrawingError(
                "Your last pictures are still being drawn. Wait for them, or cancel them."
            )
        history.drop_oldest(MAX_VISITOR_ENTRIES - 1)
        folders = (self._root / "visitors").glob("*")
        newest = sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in newest[MAX_VISITORS:]:
            if folder.name != visitor:
                shutil.rmtree(folder, ignore_errors=True)


def picture_name(entry: Entry, index: int) -> str:
    """Name of a downloaded picture: prompt, seed, and `base` for the base model's."""
    picture = entry.pictures[index]
    base = "-base" if entry.is_base[index] else ""
    return f"{_slug(picture.prompt)}-{picture.seed}{base}.png"


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "picture"
