"""`python -m rocm train`: a run from its settings to its last line."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocm.cli import models as cli_models
from rocm.cli import runs as cli_runs
from rocm.config import RunConfig
from rocm.config.presets import preset_groups, preset_names
from rocm.distributed import ALONE, Ranks, joined
from rocm.errors import ConfigError
from rocm.runs.run_dir import RunDir

if TYPE_CHECKING:
    from rocm.training.loop import Progress


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """What a run is made of, or which one goes on."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _settings_help()
    parser.add_argument("source", nargs="?", metavar="PRESET|FILE", help="preset name or YAML file")
    parser.add_argument("--run-dir", type=Path, help="where the run is kept")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue a run")
    cli_models.add_train_arguments(parser)
    parser.set_defaults(run=train)


def _settings_help() -> str:
    lines = [
        f"  --{name.replace('_', '-')} (default {field.default!r})\n      {field.description}"
        for name, field in RunConfig.model_fields.items()
    ]
    for heading, names in preset_groups().items():
        lines += ["", f"presets, {heading}:", *(f"  {name}" for name in names)]
    return "\n".join(["settings:", *lines])


def train(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Begin a run or go on with one, and show its progress until it ends.

    Args:
        options: of `add_train_arguments`.
        rest: settings as flags.
        home: ROCM_HOME.

    Raises:
        RocmError: bad settings, or what ended the run.
    """
    with joined() as ranks:
        if ranks.rank:
            _follow(ranks)
        else:
            _lead(options, rest, home, ranks)


def _lead(options: argparse.Namespace, rest: list[str], home: Path, ranks: Ranks) -> None:
    begin = _resumed if options.resume else _created
    run = begin(options, rest, home, ranks)
    try:
        watch(run, ranks)
    finally:
        _hand_over(run)


def _follow(ranks: Ranks) -> None:
    """Work for the leading process; that one alone reacts to signals, and ends the others."""
    from rocm.training.loop import follow

    silence_libraries()
    with _handling_signals(signal.SIG_IGN):
        follow(ranks)


def _resumed(options: argparse.Namespace, rest: list[str], home: Path, ranks: Ranks) -> RunDir:
    if options.source or rest:
        raise ConfigError("--resume takes its settings from the run; give no preset or setting.")
    run = RunDir(options.resume)
    ranks.local(run.config())  # the run is left as it is where it cannot be shared
    if not run.checkpoints():
        print(f"{run.path} has no checkpoint yet: it begins anew.", flush=True)
    return run


def _created(options: argparse.Namespace, rest: list[str], home: Path, ranks: Ranks) -> RunDir:
    if not options.source:
        raise ConfigError(f"Which preset or file? Presets: {', '.join(preset_names())}.")
    config = RunConfig.load(source_of(options.source, home), **cli_runs.settings(rest))
    config = cli_runs.with_votes(cli_models.adjusted(config, options), home)
    ranks.local(config)  # no run is made that cannot be shared
    preset = Path(options.source).stem
    name = f"{preset}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    run = RunDir.create(options.run_dir or home / "runs" / name, config, preset)
    run.write_launch(os.getpid())  # loading torch may take longer than the queue would wait
    return run


def source_of(name: str, home: Path) -> str | Path:
    """A preset's name or a file; the user's own presets go by their name too."""
    own = home / "presets" / f"{name}.yaml"
    return own if name not in preset_names() and os.path.isfile(own) else name


def _hand_over(run: RunDir) -> None:
    """Let the queue that the run belongs to go on, should its worker have died meanwhile."""
    from rocm.runs.queue import Queue

    home = run.path.resolve().parent.parent
    if (home / "queue.lock").is_file():
        Queue(home).ensure_worker()


def watch(run: RunDir, ranks: Ranks = ALONE) -> None:
    """Train a run in this process, with a progress bar and a closing line.

    Ctrl-C and SIGTERM end it after this update, with a checkpoint; a second one at once.

    Args:
        run: begins, or goes on from its newest checkpoint.
        ranks: processes that share the work; this one leads.

    Raises:
        RocmError: what ended the run.
    """
    from tqdm import tqdm

    from rocm.training.loop import train

    silence_libraries()
    began = time.monotonic()
    bar = tqdm(total=run.config().num_steps, unit="update", file=sys.stdout, mininterval=1)

    def stop(number: int, frame: object) -> None:
        if (run.path / "control" / "stop").exists():
            raise KeyboardInterrupt
        print(f"\nStopping after this update. Continue with --resume {run.path}")
        run.request("stop")

    with _handling_signals(stop), bar:
        for progress in train(run, bool(run.checkpoints()), ranks):
            bar.n = progress.step
            bar.set_postfix(_figures(progress), refresh=False)
            bar.refresh()
    print(_closing_line(run, time.monotonic() - began))


@contextmanager
def _handling_signals(handler: Any) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM otherwise for a while: what is forked later inherits the old."""
    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def silence_libraries() -> None:
    """One progress bar is enough: ours."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def _figures(progress: "Progress") -> dict[str, str]:
    names = ("reward", "divergence") if progress.step else ("eval/reward",)
    return {name: f"{progress.row[name]:.3g}" for name in names if name in progress.row}


def _closing_line(run: RunDir, seconds: float) -> str:
    status = run.status()
    rows = [row for row in run.metrics() if "eval/reward" in row]
    first, last = rows[0], rows[-1]
    changes = [
        f"{name} {first[name]:.3g} -> {last[name]:.3g}"
        for name in last
        if name == "eval/reward" or name.startswith("heldout/")
    ]
    return (
        f"{status.state.capitalize()} after {status.step} updates, {seconds:.0f} s. "
        f"{', '.join(changes)}. Adapter: {run.path / 'adapter'}"
    )
