"""The voting link as raters can use it: with an address that they reach, and as a QR code."""

import socket
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import segno

from rocm.ui.access import is_loopback

ELSEWHERE = ("192.0.2.1", 9)  # RFC 5737: documentation; nothing is sent there
MODULE_PX = 5


CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def lan_address() -> str:
    """This machine's IPv4 address in its network.

    Empty without a network, and in a container, whose own address others do not reach.
    """
    if any(mark.exists() for mark in CONTAINERS):
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return ""
        found = str(probe.getsockname()[0])
    return "" if is_loopback(found) else found


def reachable(base: str, lan: str) -> str:
    """The page's address as the browser knows it, with `lan` (or empty) for a loopback name."""
    url = urlsplit(base)
    if not lan or not is_loopback(url.hostname or ""):
        return base
    place = f"{lan}:{url.port}" if url.port else lan
    return url._replace(netloc=place).geturl()


def qr_code(link: str) -> str:
    """A link as a QR code in HTML; empty for a link that works on this machine only."""
    if is_loopback(urlsplit(link).hostname or ""):
        return ""
    code = segno.make(link, micro=False)
    drawing = code.svg_inline(scale=MODULE_PX, dark="#000", light="#fff", omitsize=False)
    words = f"QR code of {link}"
    return f'<div class="qr" role="img" aria-label="{escape(words)}">{drawing}</div>'
