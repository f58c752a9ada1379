"""Pictures as PNG files that say how they were drawn."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rocm.drawing.picture import Picture


def png_bytes(image: Image.Image, picture: Picture) -> bytes:
    """A PNG file with the picture's settings as text chunks.

    Args:
        image: what was drawn.
        picture: its settings.

    Returns:
        The file's content.
    """
    text = PngInfo()
    for name, value in picture.metadata().items():
        text.add_itxt(name, value)
    buffer = BytesIO()
    image.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


def picture_file(folder: Path, index: int) -> Path:
    """Where the index-th picture of a request is stored."""
    return folder / f"{index:03d}.png"
