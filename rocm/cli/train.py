"""`python -m rocm train`: create a run from its settings, or continue one, and train it."""

import argparse
import os
import signal
import time
from pathlib import Path

from rocm.cli.engines import add_engine_argument, bring_here, tell_jobs
from rocm.cli.lazy import lazy
from rocm.cli.runs import settings, with_votes
from rocm.cli.trainer import handling_signals, silence_libraries, watch
from rocm.config import RunConfig
from rocm.config.hardware import with_hardware
from rocm.config.presets import hardware_names, preset_groups, preset_names
from rocm.distributed import ALONE, Ranks, joined, num_started
from rocm.errors import ConfigError
from rocm.runs.engines.base import chosen_engine
from rocm.runs.queue import Queue
from rocm.runs.run_dir import RunDir

calibrated_beta = lazy("rocm.training.calibrate:calibrated_beta")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train`; every setting is a flag besides."""
    add = parser.add_argument
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _settings_help()
    add("source", nargs="?", metavar="PRESET|FILE", help="preset name or YAML file")
    add("--run-dir", type=Path, help="directory of the new run")
    add("--resume", type=Path, metavar="DIR", help="continue the run in DIR")
    names = ", ".join([*hardware_names(), "auto"])
    add("--hardware", default="", help=f"settings for a card's memory: {names}")
    add(
        "--calibrate-beta",
        type=float,
        metavar="SHARE",
        help="first train 20 updates, and set beta so that the divergence has this share of the "
        "gradient, such as 0.2",
    )
    add_engine_argument(parser)
    parser.set_defaults(run=train, takes_settings=True)


def _settings_help() -> str:
    lines = [
        f"  --{name.replace('_', '-')} (default {field.default!r})\n      {field.description}"
        for name, field in RunConfig.model_fields.items()
    ]
    for heading, names in preset_groups().items():
        lines += ["", f"presets, {heading}:", *(f"  {name}" for name in names)]
    return "\n".join(["settings:", *lines])


def train(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Begin or continue a run, and show its progress until it ends; or submit it to an engine."""
    if num_started() == 1 and (engine := chosen_engine(options.engine)) != "local":
        return _submit(options, rest, home, engine)
    if options.engine not in ("", "local"):
        raise ConfigError(
            f"--engine {options.engine} takes one process. Submit the launcher yourself: "
            "docs/models.md has scripts."
        )
    with joined() as ranks:
        if ranks.rank:
            _follow(ranks)
        elif options.resume:
            run = _resumed(options, rest, ranks)
            bring_here(run)
            watch(run, ranks)
        else:
            watch(_created(options, rest, home, ranks), ranks)


def _submit(options: argparse.Namespace, rest: list[str], home: Path, engine: str) -> None:
    queue = Queue(home)
    wanted = options.resume or options.run_dir
    if wanted and wanted.resolve().parent != queue.runs:
        raise ConfigError(
            f"{wanted} is not in {queue.runs}, where the runs of engines are looked after. Choose "
            f"{queue.runs / wanted.name}, or train with --engine local."
        )
    queue.check(engine)
    if options.resume:
        run = _resumed(options, rest, ALONE)
        queue.add(run, engine)
    else:
        run = _created(options, rest, home, ALONE, engine)
        queue.submit([run], engine)
    tell_jobs([run])
    print(f"Progress: the page, python -m rocm runs, and {run.path / 'log.txt'}")


def _follow(ranks: Ranks) -> None:
    """Work for the leading process; only that process reacts to signals, and ends the others."""
    from rocm.training.loop import follow

    silence_libraries()
    with handling_signals(signal.SIG_IGN):
        follow(ranks)


def _resumed(options: argparse.Namespace, rest: list[str], ranks: Ranks) -> RunDir:
    if options.source or rest:
        raise ConfigError("--resume takes its settings from the run; give no preset or setting.")
    run = RunDir(options.resume)
    ranks.local(run.config())  # a run that cannot be shared is left unchanged
    if not run.checkpoints():
        print(f"{run.path} has no checkpoint yet: it begins anew.", flush=True)
    return run


def _created(
    options: argparse.Namespace, rest: list[str], home: Path, ranks: Ranks, engine: str = ""
) -> RunDir:
    if not options.source:
        raise ConfigError(f"Give a preset or a file. Presets: {', '.join(preset_names())}.")
    config = with_votes(_config(options, rest, home), home)
    ranks.local(config)  # a run that cannot be shared is not created
    preset = Path(options.source).stem
    name = f"{preset}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    run = RunDir.create(options.run_dir or home / "runs" / name, config, preset, engine or 0)
    if not engine:
        run.write_launch(os.getpid())  # loading torch may take longer than the queue would wait
    return run


def _config(options: argparse.Namespace, rest: list[str], home: Path) -> RunConfig:
    """The settings of a preset, shipped or saved, or of a file, changed by flags."""
    source = options.source
    own = home / "presets" / f"{source}.yaml"
    is_own = source not in preset_names() and os.path.isfile(own)
    config = RunConfig.load(own if is_own else source, **settings(rest))
    if options.hardware:
        config = with_hardware(config, options.hardware)
    if options.calibrate_beta is not None:
        beta = calibrated_beta(config, options.calibrate_beta)
        share = f"{options.calibrate_beta:.0%} of the gradient"
        print(f"beta={beta:g}: the divergence has {share} after 20 updates.", flush=True)
        config = RunConfig.load(config.model_dump(), beta=beta)
    return config
