"""Drawings as HTML: state, grid, history. Text written by a user is escaped."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from io import BytesIO
from pathlib import Path
from time import strftime, strptime
from urllib.parse import urlencode

from PIL import Image

from rocm.generation.history import Entry
from rocm.generation.orders import Order, picture_name
from rocm.generation.picture import Picture
from rocm.generation.queue import JobStatus
from rocm.prompts.vocabulary import remark
from rocm.storage.numbers import duration
from rocm.ui.handlers import fault, note

DOT = " \N{MIDDLE DOT} "
INLINE_BYTES = 256 * 1024
DAMAGED = "The file of this picture is damaged."
THUMBNAIL = 64
NOTHING = """
<div class="empty"><strong>No picture yet.</strong> Type a prompt and press <em>Draw</em>. The first
picture takes a few seconds longer, while the model is loaded.</div>
"""
NO_HISTORY = (
    '<div class="empty">Your drawings are kept here; a click restores their settings.</div>'
)
SWITCH = """<fieldset class="arms"><legend>Same noise</legend>
<label><input type="radio" name="arm" value="adapter"><span>Adapter</span></label>
<label><input type="radio" name="arm" value="base"><span>Base model</span></label>
<label><input type="radio" name="arm" value="side" checked><span>Side by side</span></label>
</fieldset>"""


def drawing(entry: Entry, status: JobStatus | None, command: str, is_public: bool) -> str:
    """State and pictures as HTML, and the command that draws them again unless the page is public.

    `status` is None for an entry that is not being drawn.
    """
    order = Order.of(entry.order)
    has_both = any(entry.is_base)
    num_shown = len(entry.pictures) // (2 if has_both else 1)
    is_coming = status is not None
    cards = "".join(
        _card(entry, index, num_shown, has_both)
        for index in range(num_shown)
        if is_coming or index in entry.files or index + num_shown in entry.files
    )
    switch = SWITCH if has_both else ""
    return (
        f'<div data-query="{escape(query(order))}">{_state(entry, status)}'
        f'<div class="drawn {"both" if has_both else ""}">{switch}'
        f'<div class="pictures n{min(num_shown, 4)}">{cards}</div></div>'
        f"{_again(command, is_public)}</div>"
    )


def query(order: Order) -> str:
    """The order as the part of an address behind the question mark; plain values are left out."""
    plain = Order()
    changed = {
        name: int(value) if isinstance(value, bool) else value
        for name, value in vars(order).items()
        if name in ("prompt", "seed") or value != getattr(plain, name)
    }
    return urlencode({"tab": "generate", **changed})


def history(entries: list[Entry], shown: str) -> str:
    """The history as a list of buttons; `shown` is the id of the entry on the page."""
    if not entries:
        return NO_HISTORY
    lines = "".join(_line(entry, entry.entry_id == shown) for entry in entries)
    return f'<ul class="history">{lines}</ul>'


def _state(entry: Entry, status: JobStatus | None) -> str:
    drawn, total = len(entry.files), len(entry.pictures)
    state = status.state if status else entry.state
    words = [f"{drawn} of {total} pictures" if total > 1 else "1 picture"]
    if state == "waiting" and status:
        words = [f"{status.ahead} requests ahead"] if status.ahead else ["starting"]
    elif state == "warming up":
        words = ["loading the model"]
    elif status is None and entry.state == "drawing":
        state = "unfinished"
    elif status is None:
        words.append(duration(entry.seconds))
    first = entry.pictures[0]
    settings = [f"N {first.num_inference_steps}", f"guidance {first.guidance_scale:g}"]
    error = fault(entry.error) if entry.error else ""
    unseen = remark([first.prompt], first.model)
    caution = note(unseen) if unseen else ""
    return (
        f"{progress(state, words, drawn, total)}"
        f'<div class="settings"><strong>{escape(first.prompt)}</strong><br>'
        f"{escape(DOT.join([*settings, *_adapter(first)]))}</div>{caution}{error}"
    )


def progress(state: str, facts: Sequence[str], done: int, total: int) -> str:
    """A state with its badge and facts about it, and below a bar of what is done."""
    look = state.replace(" ", "-")
    share = 100 * done / max(total, 1)
    return (
        f'<div class="state"><span class="badge {look}">{state}</span>'
        f"<span>{escape(DOT.join(facts))}</span></div>"
        f'<div class="bar {look}"><i style="width:{share:.1f}%"></i></div>'
    )


def _card(entry: Entry, index: int, num_shown: int, has_both: bool) -> str:
    picture = entry.pictures[index]
    images = _image(entry, index, "adapter" if has_both else "")
    if has_both:
        images += _image(entry, index + num_shown, "base")
    return f"<figure><div>{images}</div><figcaption>seed {picture.seed}</figcaption></figure>"


def _image(entry: Entry, index: int, arm: str) -> str:
    file = entry.files.get(index)
    label = f"<small>{arm}</small>" if arm else ""
    if file is None:
        return f'<span class="{arm}"><i class="coming"></i>{label}</span>'
    look = picture_look(file)
    if look is None:
        return f'<span class="{arm}"><i class="coming">{DAMAGED}</i>{label}</span>'
    words = f"{entry.pictures[index].prompt}, seed {entry.pictures[index].seed}"
    data = look.data
    picture = f'<img src="{data}" alt="{escape(words)}" width="{look.width}">'
    if data.startswith("data:image/png"):
        name = escape(picture_name(entry, index))
        picture = (
            f'<a href="{data}" download="{name}" title="Download {name}" '
            f'aria-label="Download {name}">{picture}</a>'
        )
    return f'<span class="{arm}">{picture}{label}</span>'


@dataclass(frozen=True)
class Look:
    """A picture as data addresses: the PNG if it is small, else a WebP; and its thumbnail."""

    data: str
    thumbnail: str
    width: int


def picture_look(file: Path) -> Look | None:
    """The picture in a PNG file, read again when it has changed; None if damaged or deleted."""
    try:
        return _read_look(file, file.stat().st_mtime_ns)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # all of Pillow's
        return None


@lru_cache(maxsize=1024)
def _read_look(file: Path, changed: int) -> Look:
    content = file.read_bytes()
    with Image.open(BytesIO(content)) as picture:
        data = b64encode(content).decode() if len(content) <= INLINE_BYTES else ""
        data = f"data:image/png;base64,{data}" if data else _webp(picture, 88)
        width = picture.width
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        return Look(data, _webp(picture, 80), width)


def _webp(picture: Image.Image, quality: int) -> str:
    buffer = BytesIO()
    picture.save(buffer, format="WEBP", quality=quality)
    return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"


def _line(entry: Entry, is_shown: bool) -> str:
    first = entry.pictures[0]
    prompt = escape(first.prompt)
    look = picture_look(entry.files[min(entry.files)]) if entry.files else None
    image = f'<img src="{look.thumbnail}" alt="">' if look else '<i class="coming"></i>'
    facts = [moment(entry.entry_id), f"seed {first.seed}", f"N {first.num_inference_steps}"]
    if len(entry.pictures) > 1:
        facts.insert(1, f"{len(entry.pictures)} pictures")
    facts += _adapter(first)
    current = 'aria-current="true"' if is_shown else ""
    return (
        f'<li><button type="button" class="entry" data-entry="{entry.entry_id}" {current}>{image}'
        f"<span><b>{prompt}</b><small>{escape(DOT.join(facts))}</small></span></button>"
        f'<button type="button" class="bin" data-entry="{entry.entry_id}" '
        f'aria-label="Delete the drawing of {prompt}" title="Delete">'
        "\N{MULTIPLICATION SIGN}</button></li>"
    )


def moment(entry_id: str) -> str:
    """Date and time of an entry."""
    return strftime("%d %b %H:%M", strptime(entry_id[:15], "%Y%m%d-%H%M%S"))


def _adapter(picture: Picture) -> list[str]:
    """The adapter and its strength in words; nothing for the base model."""
    path = Path(picture.adapter)
    name = path.parent.name if path.name == "adapter" else path.name
    return [f"{name} at {picture.adapter_strength:g}"] if picture.adapter else []


def _again(command: str, is_public: bool) -> str:
    copy = '<button type="button" data-copy="%s">Copy %s</button>'
    words = copy % ("link", "link")
    if not is_public:
        words += copy % ("command", "command")
        label = 'aria-label="Command that draws this"'
        words += f'<code tabindex="0" {label}>{escape(command)}</code>'
    return f'<div class="again">{words}</div>'
