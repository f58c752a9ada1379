"""`python -m rocm download`, `rewards` and `export`: files of models and adapters, in and out."""

import argparse
import os
import socket
from functools import partial
from pathlib import Path

from rocm.cli.lazy import lazy
from rocm.config import RunConfig
from rocm.config.presets import preset_names
from rocm.errors import ConfigError
from rocm.models.files import adapter_repository, find_model, model_repositories
from rocm.prompts.files import fetch_hub_prompts, is_hub_source
from rocm.rewards.files import PUBLISHED, is_usable, size_text, weights_folder
from rocm.rewards.files import download as download_reward
from rocm.rewards.names import parse_mixture
from rocm.runs.adapters import find_adapter
from rocm.storage.hub import announcement, fetch, is_repository, size

share = lazy("rocm.runs.share")
download_url_to_file = lazy("torch.hub:download_url_to_file")

_say = partial(print, flush=True)
TIMEOUT_S = 60
FORMATS = ("diffusers", "peft", "kohya", "merged")


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `download`."""
    add = parser.add_argument
    parser.description = (
        "Download what a model or a preset needs into the hub's cache; the size is printed first. "
        "For rewards use: rewards --download NAME. No other command downloads."
    )
    add("source", metavar="MODEL|PRESET|PROMPTS", help="as in the settings model or prompts")
    add("--adapter", action="store_true", help="the source is an adapter, owner/name")
    add("--column", default="", help="of a data set; as prompt_column")
    add("--dry-run", action="store_true", help="only print the size")
    parser.set_defaults(run=download)


def download(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Download what a model or a preset needs, or only print its size."""
    source = options.source
    if is_hub_source(source):
        fetch_hub_prompts(source, options.column, _say)
        return
    if source in preset_names() or os.path.isfile(source):
        config = RunConfig.load(source)
        source = config.model
        _say_missing_rewards(config)
        if is_hub_source(config.prompts) and not options.dry_run:
            fetch_hub_prompts(config.prompts, config.prompt_column, _say)
    repositories = [adapter_repository(source)] if options.adapter else model_repositories(source)
    for repository in repositories:
        if options.dry_run:
            _say(announcement(repository, size(repository)))
        else:
            fetch(repository, _say)
    if not repositories:
        _say(f"{source}: a folder on this disk, {find_model(source).base}.")


def _say_missing_rewards(config: RunConfig) -> None:
    """Print the command that downloads the missing rewards of a run."""
    named = dict.fromkeys([*parse_mixture(config.reward), config.judge])
    missing = [name for name in named if name in PUBLISHED and not is_usable(name)]
    if missing:
        _say(f"It needs rewards too: python -m rocm rewards --download {' '.join(missing)}")


def add_rewards_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `rewards`."""
    parser.add_argument(
        "--download", nargs="+", default=[], metavar="NAME", help="download these rewards"
    )
    parser.set_defaults(run=rewards)


def rewards(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Download the missing files of the named rewards, then print the table of all."""
    for name in options.download:
        if name not in PUBLISHED:
            raise ConfigError(f"No published reward '{name}'. Published: {', '.join(PUBLISHED)}.")
    for name in options.download:
        if is_usable(name):
            _say(f"{name}: present")
            continue
        for file in download_reward(name, _fetch):
            _say(f"{name}: downloading {file.name} of {file.repository} ({size_text([file])})")
        _say(f"{name}: ready")
    _say(_reward_table())


def _reward_table() -> str:
    """Every published reward: whether its files are present, or the size of the missing ones."""
    rows = [["reward", "files", "usual values", "reads the prompt"]]
    for name, published in PUBLISHED.items():
        missing = [file for file in published.files if not file.find()]
        state = f"missing, {size_text(missing)}" if missing else "present"
        low, high = published.native_range
        reads = "yes" if published.needs_prompt else "no"
        rows.append([name, state, f"{low:g} to {high:g}", reads])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, f"Own files: {weights_folder()}; others: the hub's cache."])


def _fetch(url: str, path: str, sha256: str) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)  # torch's function has no timeout
    try:
        download_url_to_file(url, path, sha256 or None)
    finally:
        socket.setdefaulttimeout(before)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    add = parser.add_argument
    parser.description = (
        "Write an adapter for another program, with a card: diffusers; peft; kohya, one file "
        "for ComfyUI and A1111; merged, the whole model with the adapter in its weights."
    )
    add("source", metavar="ADAPTER", help="a run's id or directory, a checkpoint, a folder, ...")
    add("--format", choices=FORMATS, default="diffusers", dest="kind")
    add("--out", type=Path, required=True, help="empty or new folder")
    add(
        "--model",
        default=RunConfig.model_fields["model"].default,
        help="base model of an adapter folder; a run knows its own",
    )
    add("--push-to-hub", metavar="OWNER/NAME", default="", help="also upload the folder there")
    add("--public", action="store_true", help="make a new repository public")
    parser.set_defaults(run=export)


def export(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Write an adapter for another program, and upload it if asked."""
    repository = options.push_to_hub
    if repository and (not is_repository(repository) or "@" in repository):
        raise ConfigError(f"--push-to-hub {repository[:200]} is not of the form owner/name.")
    adapter = find_adapter(options.source, home / "runs")
    _say(str(share.export_adapter(adapter, options.model, options.kind, options.out)))
    if repository:
        _say(share.push(options.out.expanduser(), repository, options.public))
