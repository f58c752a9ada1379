"""What a picture is made of: its settings, their bounds, its file, the command that draws it.

Plain data without torch, so that the page's process can check a request before it asks for it.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.prompts.split import check_prompt

MAX_PICTURES = 256
MAX_SEED = 2**53 - 1
MAX_STRENGTH = 2.0
SAMPLING = ("model", "num_inference_steps", "guidance_scale", "grid")


@dataclass(frozen=True)
class Picture:
    """Everything that a picture depends on; defaults are those of `RunConfig`."""

    prompt: str
    seed: int = 0  # of its noise, 0 to 2**53 - 1: the whole numbers that a browser holds exactly
    num_inference_steps: int = 4
    guidance_scale: float = 8.5  # in diffusers' convention
    grid: str = "current"  # of timesteps, as the setting
    model: str = "assets/tiny-lcm"  # folder in diffusers' layout
    adapter: str = ""  # folder of a LoRA, absolute or relative to the project; or empty
    adapter_strength: float = 1.0  # factor of the adapter's update, 0 to 2; 1 is as trained

    @property
    def batch_key(self) -> tuple[object, ...]:
        """Equal for pictures that one batch can hold."""
        settings = asdict(self).items()
        return tuple(value for name, value in settings if name not in ("prompt", "seed"))

    def checked(self) -> "Picture":
        """The picture with every value in its type and bounds; ConfigError if one is not allowed.

        All orders, comparisons and commands check a picture's settings here and nowhere else.
        """
        config = RunConfig.load({name: getattr(self, name) for name in SAMPLING}, beta=0)
        return replace(
            self,
            prompt=check_prompt(self.prompt),
            seed=whole_number("seed", self.seed, 0, MAX_SEED),
            adapter=self.adapter.strip(),
            adapter_strength=_strength(self.adapter_strength),
            **{name: getattr(config, name) for name in SAMPLING},
        )

    def series(self, num_pictures: int) -> list["Picture"]:
        """This checked picture and those of the seeds that follow."""
        whole_number("seed", self.seed, 0, MAX_SEED + 1 - num_pictures)
        return [replace(self, seed=self.seed + offset) for offset in range(num_pictures)]


def check_pictures(pictures: Sequence[Picture]) -> list[Picture]:
    """A request's pictures, checked; ConfigError if there are none, too many, or a bad one."""
    if not 1 <= len(pictures) <= MAX_PICTURES:
        raise ConfigError(
            f"{len(pictures):,} pictures were requested; a request draws 1 to {MAX_PICTURES}. "
            "Split it into several requests."
        )
    return [picture.checked() for picture in pictures]


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`, from a number or text; ConfigError if it is none."""
    try:
        number = int(str(value).strip().removesuffix(".0"))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise ConfigError(f"{name}={value!r} is not allowed: give a whole number {low} to {high}.")
    return number


def command_line(picture: Picture, num_pictures: int) -> str:
    """The command that draws this picture and the next seeds', `num_pictures` in all."""
    # argparse takes a text that begins with - for a flag, unless -- stands before it.
    is_dashed = picture.prompt.startswith("-")
    begin, end = ([], ["--", picture.prompt]) if is_dashed else ([picture.prompt], [])
    words = ["python", "-m", "rocm", "sample", *begin, "--seed", str(picture.seed)]
    if num_pictures > 1:
        words += ["--num", str(num_pictures)]
    words += ["--num-inference-steps", str(picture.num_inference_steps)]
    words += ["--guidance-scale", f"{picture.guidance_scale:g}"]
    base = Picture(picture.prompt)
    for name in ("grid", "model"):
        if getattr(picture, name) != getattr(base, name):
            words += [f"--{name}", getattr(picture, name)]
    if picture.adapter:
        words += ["--adapter", picture.adapter]
        if picture.adapter_strength != 1:
            words += ["--adapter-strength", f"{picture.adapter_strength:g}"]
    return shlex.join([*words, *end])


def _strength(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= MAX_STRENGTH:
        raise ConfigError(
            f"adapter_strength={value!r} is not allowed: give 0 (the base model) to "
            f"{MAX_STRENGTH:g}; 1 is the adapter as it was trained."
        )
    return number


def png_bytes(image: Image.Image, picture: Picture) -> bytes:
    """A PNG file with the picture's settings as text chunks."""
    text = PngInfo()
    for name, value in asdict(picture).items():
        text.add_itxt(name, str(value))
    buffer = BytesIO()
    image.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


def picture_file(folder: Path, index: int) -> Path:
    """Where the index-th picture of a request is stored."""
    return folder / f"{index:03d}.png"
