"""`python -m rocm sample`: pictures of a prompt."""

import argparse
import sys
from itertools import chain, count
from pathlib import Path

from rocm.cli.lazy import lazy
from rocm.config import RunConfig
from rocm.distributed import joined
from rocm.errors import ConfigError, RunError
from rocm.generation.picture import SAMPLING, Picture, png_bytes
from rocm.prompts.vocabulary import remark
from rocm.runs.adapters import find_adapter

Sampler = lazy("rocm.generation.sampler:Sampler")
silence_libraries = lazy("rocm.cli.trainer:silence_libraries")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sample`."""
    add = parser.add_argument
    add("prompt", help="text; put -- before a prompt that starts with a -")
    add("--seed", type=int, default=0, help="seed of the first picture")
    add("--num", type=int, default=1, help="number of pictures, consecutive seeds")
    add(
        "--out",
        type=Path,
        default=Path("picture.png"),
        help="PNG file; a number is added to a name in use",
    )
    add("--adapter", default="", help="run, checkpoint (RUN@STEP), folder, shipped or hub adapter")
    add("--adapter-strength", type=float, default=1.0, help="0 to 2; 1 is as trained")
    add_sampling_arguments(parser)
    parser.set_defaults(run=sample)


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each setting that decides how a picture is drawn, and for the device."""
    for name in (*SAMPLING, "device"):
        field = RunConfig.model_fields[name]
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, default=field.default, help=field.description, dest=name)


def sample(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Draw the pictures and print their paths."""
    if not 1 <= options.num <= 1000:
        raise ConfigError("--num is 1 to 1000.")
    if not options.out.name:
        raise ConfigError(f"--out {options.out} names no file. Give one, such as picture.png.")
    if not options.out.parent.is_dir():
        raise RunError(f"Cannot write {options.out}: no folder there. Choose another --out.")
    RunConfig.load({"device": options.device})
    first = Picture(
        prompt=options.prompt,
        seed=options.seed,
        adapter=find_adapter(options.adapter, home / "runs").folder,
        adapter_strength=options.adapter_strength,
        **{name: getattr(options, name) for name in SAMPLING},
    ).checked()
    pictures = first.series(options.num)
    if words := remark([first.prompt], first.model):
        print(words, file=sys.stderr)
    silence_libraries()
    with joined() as ranks:
        for drawn in Sampler(options.device).draw(pictures, ranks=ranks):
            picture, out = pictures[drawn.index], options.out
            path = out if options.num == 1 else out.with_stem(f"{out.stem}-{picture.seed}")
            path = _free(path)
            if ranks.rank == 0:
                try:
                    path.write_bytes(png_bytes(drawn.image, picture))
                except OSError as error:
                    raise RunError(
                        f"Cannot write {path}: {error.strerror}. Choose another --out."
                    ) from error
                print(path)


def _free(path: Path) -> Path:
    """The path, with a number in its name if a file is there already."""
    others = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(candidate for candidate in chain([path], others) if not candidate.exists())
