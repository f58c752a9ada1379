"""A document as HTML that loads nothing, or Markdown; all text is escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2430;background:#fff;max-width:60rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d5dbe3}
.mark{background:#8a1c1c;color:#fff;font-weight:700;padding:.5rem .8rem;margin:.6rem 0}
.table,figure{overflow-x:auto;background:
linear-gradient(90deg,#fff 40%,transparent) 0 0/44px 100% no-repeat local,
linear-gradient(270deg,#fff 40%,transparent) 100% 0/44px 100% no-repeat local,
linear-gradient(90deg,#b9bdc3,#fff) 0 0/14px 100% no-repeat scroll,
linear-gradient(270deg,#b9bdc3,#fff) 100% 0/14px 100% no-repeat scroll,#fff}
table{border-collapse:collapse;font-size:.85rem;margin:.6rem 0}
th,td{padding:.25rem .6rem;border-bottom:1px solid #d5dbe3;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}figure{margin:1rem 0}
svg{max-width:100%;min-width:35rem;height:auto}
figcaption,.note{color:#56616f;font-size:.85rem}p{overflow-wrap:anywhere}
"""


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class TextTable:
    """Rows of text with a header; the first column is aligned left."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Drawing:
    """SVG text with a caption; Markdown shows the caption only."""

    svg: str
    caption: str


Block = Heading | Paragraph | TextTable | Drawing


def to_html(title: str, marks: Sequence[str], blocks: Sequence[Block]) -> str:
    """One self-contained page, with the content of `to_fragment`."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>{to_fragment(title, marks, blocks)}</main></body></html>\n"
    )


def to_fragment(title: str, marks: Sequence[str], blocks: Sequence[Block]) -> str:
    """The content as HTML without a style, for another page; marks are warnings above and below."""
    banner = "".join(f'<p class="mark" role="note">{escape(mark)}</p>' for mark in marks)
    body = "\n".join(_html(block) for block in blocks)
    return f"{banner}<h1>{escape(title)}</h1>\n{body}\n{banner}"


def to_markdown(title: str, marks: Sequence[str], blocks: Sequence[Block]) -> str:
    """The same content as Markdown, without the drawings."""
    parts = [f"# {_plain(title)}", *(f"> **{_plain(mark)}**" for mark in marks)]
    return "\n\n".join([*parts, *(_markdown(block) for block in blocks)]) + "\n"


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Drawing):
        caption = f"<figcaption>{escape(block.caption)}</figcaption>"
        return f"<figure>{block.svg}{caption}</figure>"
    return table_html(block.header, block.rows)


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself if it is too wide."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return (
        f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {_plain(block.text)}"
    if isinstance(block, Paragraph):
        return _plain(block.text)
    if isinstance(block, Drawing):
        return f"*{_plain(block.caption)} (drawn in the HTML report)*"
    lines = [block.header, ["---"] * len(block.header), *block.rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no end of a table's cell."""
    for character in "\\`*_[]<>|#~!":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
