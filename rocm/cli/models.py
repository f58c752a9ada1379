"""`python -m rocm download` and `export`: models, prompts and adapters, in and out."""

import argparse
import os
from pathlib import Path

from rocm.config import RunConfig
from rocm.config.hardware import with_hardware
from rocm.config.presets import hardware_names, preset_names
from rocm.models.files import adapter_repository, find_model, model_repositories
from rocm.prompts.files import fetch_hub_prompts, is_hub_source
from rocm.rewards.files import PUBLISHED, is_usable
from rocm.rewards.names import parse_mixture
from rocm.storage.hub import announcement, fetch, size

FORMATS = ("diffusers", "peft", "kohya", "merged")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """What changes the settings of `train` before the run is made."""
    names = ", ".join([*hardware_names(), "auto"])
    parser.add_argument("--hardware", default="", help=f"settings for a card's memory: {names}")
    parser.add_argument(
        "--calibrate-beta",
        type=float,
        metavar="SHARE",
        help="first train 20 updates, and set beta so that the divergence has this share of the "
        "gradient, such as 0.2",
    )
    parser.set_defaults(takes_settings=True)


def adjusted(config: RunConfig, options: argparse.Namespace) -> RunConfig:
    """The settings after `--hardware` and `--calibrate-beta`.

    Args:
        config: as preset and flags say.
        options: of `add_train_arguments`.

    Returns:
        The settings of the run.

    Raises:
        ConfigError: no such hardware, or beta cannot be calibrated.
    """
    if options.hardware:
        config = with_hardware(config, options.hardware)
    if options.calibrate_beta is not None:
        from rocm.training.calibrate import calibrated_beta

        beta = calibrated_beta(config, options.calibrate_beta)
        share = f"{options.calibrate_beta:.0%} of the gradient"
        _say(f"beta={beta:g}: the divergence has {share} after 20 updates.")
        config = RunConfig.load(config.model_dump(), beta=beta)
    return config


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    """What to download."""
    parser.description = (
        "Download what a model or a preset needs into the hub's cache, and say first how much "
        "that is. Rewards are fetched by: rewards --download NAME. Nothing else downloads."
    )
    parser.add_argument(
        "what", metavar="MODEL|PRESET|PROMPTS", help="as the settings model or prompts, or a preset"
    )
    parser.add_argument(
        "--adapter", action="store_true", help="it is an adapter, owner/name, for a comparison"
    )
    parser.add_argument("--column", default="", help="of a data set; as prompt_column")
    parser.add_argument("--dry-run", action="store_true", help="only say how much it is")


def download(options: argparse.Namespace, rest: list[str]) -> None:
    """Download what a model or a preset needs, or only say how much it is.

    Args:
        options: of `add_download_arguments`.
        rest: empty.

    Raises:
        RocmError: no network, no such model, no room on the disk, or a file arrived damaged.
    """
    what, column = options.what, options.column
    if is_hub_source(what):
        fetch_hub_prompts(what, column, _say)
        return
    if what in preset_names() or os.path.isfile(what):
        config = RunConfig.load(what)
        what = config.model
        _say_missing_rewards(config)
        if is_hub_source(config.prompts) and not options.dry_run:
            fetch_hub_prompts(config.prompts, config.prompt_column, _say)
    wanted = [adapter_repository(what)] if options.adapter else model_repositories(what)
    for one in wanted:
        if options.dry_run:
            _say(announcement(one, size(one)))
        else:
            fetch(one, _say)
    if not wanted:
        _say(f"{what}: a folder on this disk, {find_model(what).base}.")


def _say_missing_rewards(config: RunConfig) -> None:
    """Name the command for the published rewards that a run asks for and that are not here."""
    named = dict.fromkeys([*parse_mixture(config.reward), config.judge])
    missing = [name for name in named if name in PUBLISHED and not is_usable(name)]
    if missing:
        _say(f"It needs rewards too: python -m rocm rewards --download {' '.join(missing)}")


def add_export_arguments(parser: argparse.ArgumentParser, runs: Path) -> None:
    """What to export, in which format, where to; ids name runs of the folder `runs`."""
    parser.description = (
        "Write a run's adapter for another program, with a card: diffusers; peft; kohya, one file "
        "that ComfyUI and A1111 read; merged, the whole model with the adapter in its weights."
    )
    parser.add_argument("source", metavar="RUN|DIR", help="a run's id or directory, or an adapter")
    parser.add_argument("--format", choices=FORMATS, default="diffusers", dest="kind")
    parser.add_argument("--out", type=Path, required=True, help="empty or new folder")
    parser.add_argument(
        "--model",
        default=RunConfig.model_fields["model"].default,
        help="that an adapter folder belongs to; a run knows its own",
    )
    parser.add_argument(
        "--push-to-hub", metavar="OWNER/NAME", default="", help="also upload the folder there"
    )
    parser.add_argument("--public", action="store_true", help="a new repository is for everybody")
    parser.set_defaults(runs=runs)


def export(options: argparse.Namespace, rest: list[str]) -> None:
    """Write an adapter for another program, and upload it if asked.

    Args:
        options: of `add_export_arguments`.
        rest: empty.

    Raises:
        RocmError: no such run or adapter, a folder that is not empty, or no network.
    """
    from rocm.runs.share import check_repository, export_adapter, find_adapter, push

    if options.push_to_hub:
        check_repository(options.push_to_hub)
    adapter = find_adapter(options.source, options.runs, options.model)
    _say(str(export_adapter(adapter, options.kind, options.out)))
    if options.push_to_hub:
        _say(push(options.out.expanduser(), options.push_to_hub, options.public))


def _say(line: str) -> None:
    print(line, flush=True)
