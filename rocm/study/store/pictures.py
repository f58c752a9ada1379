"""Pictures as raters see them: re-encoded without metadata, under random names, in one folder."""

import re
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from random import Random
from secrets import token_hex

from PIL import Image

from rocm.errors import MissingFile, StudyError, TrainingError
from rocm.storage.files import make_folder, write_atomic

NAME = re.compile(r"[0-9a-f]{32}")
SUFFIX = ".webp"
TILES = 8


class Pictures:
    """The folder of all studies' pictures."""

    def __init__(self, folder: Path):
        """Serve a folder; it is made with the first picture."""
        self.folder = folder

    def file(self, picture_id: str) -> Path:
        """The file of a picture, a lossless WebP; MissingFile for any other text."""
        path = self.folder / f"{picture_id}{SUFFIX}"
        if not NAME.fullmatch(picture_id) or not path.is_file():
            raise MissingFile("There is no such picture.")
        return path

    def add(self, image: Image.Image) -> tuple[str, str]:
        """Store a picture under a new name; returns its id and the sha256 of its file."""
        picture_id, content = token_hex(16), encoded(image)
        self.put(picture_id, content)
        return picture_id, sha256(content).hexdigest()

    def put(self, picture_id: str, content: bytes) -> None:
        """Store a file whole or not at all; StudyError if the disk is full or cannot be written."""
        try:
            make_folder(self.folder)
            write_atomic(self.folder / f"{picture_id}{SUFFIX}", content)
        except TrainingError as error:
            raise StudyError(f"{error} What is drawn is kept.") from error

    def has(self, picture_id: str, content: bytes | None = None) -> bool:
        """Whether there is such a picture; with this content, if one is given."""
        path = self.folder / f"{picture_id}{SUFFIX}"
        return path.is_file() and content in (None, path.read_bytes())

    def remove(self, picture_id: str) -> None:
        """Delete a picture, if there is one."""
        (self.folder / f"{picture_id}{SUFFIX}").unlink(missing_ok=True)


def encoded(image: Image.Image) -> bytes:
    """A lossless WebP of the pixels alone: no text, no profile, no date."""
    plain = image.convert("RGB")
    bare = Image.frombytes("RGB", plain.size, plain.tobytes())
    buffer = BytesIO()
    bare.save(buffer, format="WEBP", lossless=True, method=4)
    return buffer.getvalue()


def damaged(image: Image.Image, seed: int) -> Image.Image:
    """The picture, at least 8 x 8 pixels, with its 8 by 8 tiles in another order."""
    plain = image.convert("RGB")
    width, height = plain.size[0] // TILES, plain.size[1] // TILES
    places = [(x * width, y * height) for x in range(TILES) for y in range(TILES)]
    order = Random(seed).sample(places, len(places))
    result = plain.copy()
    for (x, y), (to_x, to_y) in zip(places, order, strict=True):
        result.paste(plain.crop((x, y, x + width, y + height)), (to_x, to_y))
    return result
