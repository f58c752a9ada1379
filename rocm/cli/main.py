"""`python -m rocm`: train, sample, evaluate, queue, sweep, benchmark, check the installation.

What a user can mend ends as one line and exit code 2.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rocm.cli import bench as cli_bench
from rocm.cli import evaluate as cli_evaluate
from rocm.cli import models as cli_models
from rocm.cli import reproduce as cli_reproduce
from rocm.cli import rewards as cli_rewards
from rocm.cli import runs as cli_runs
from rocm.cli import study as cli_study
from rocm.cli import train as cli_train
from rocm.config import RunConfig
from rocm.distributed import joined, num_started
from rocm.errors import ConfigError, MissingFile, RocmError, RunError
from rocm.generation.picture import SAMPLING, Picture
from rocm.storage.paths import ROOT, find_folder

PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "peft", "gradio", "plotly")
ASSETS = ("assets/tiny-lcm", "assets/tiny-clip", "assets/tiny-judge", "assets/tiny-eval")

SHARED = ("train", "sample", "evaluate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code: 0, 2 for an error that the user can mend, 130 after a second Ctrl-C.
    """
    # Threads that wait by spinning starve one another on a busy machine; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options, rest = _parser().parse_known_args(arguments)
    try:
        if rest and not options.takes_settings:
            raise ConfigError(f"Unknown argument '{rest[0]}'. See python -m rocm --help.")
        if options.word not in SHARED and num_started() > 1:
            raise ConfigError(
                f"Several processes can share {', '.join(SHARED)} only. Start '{options.word}' "
                f"without a launcher: python -m rocm {options.word} ..."
            )
        options.command(options, rest)
    except RocmError as error:
        print(f"rocm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rocm: interrupted.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rocm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = _command(commands, "train", _train, "fine-tune a model; every setting is a flag")
    cli_train.add_train_arguments(train)

    sample = _command(commands, "sample", _sample, "draw pictures of a prompt")
    sample.add_argument("prompt", help="text; -- goes before one that begins with a -")
    sample.add_argument("--seed", type=int, default=0, help="of the first picture")
    sample.add_argument(
        "--num", type=int, default=1, help="pictures; their seeds follow each other"
    )
    sample.add_argument("--out", type=Path, default=Path("picture.png"), help="PNG file")
    sample.add_argument("--adapter", type=Path, help="adapter folder of a run")
    sample.add_argument(
        "--adapter-strength", type=float, default=1.0, help="0 to 2; 1 is as it was trained"
    )
    _sampling_arguments(sample)

    runs = _command(commands, "runs", _runs, "list, name, continue, delete, export runs")
    cli_runs.add_runs_arguments(runs)
    queue = _command(commands, "queue", _runs, "list, add, move, cancel runs that wait")
    cli_runs.add_queue_arguments(queue)
    _sweep_arguments(_command(commands, "sweep", _sweep, "train a grid of settings"))

    reproduce = _command(commands, "reproduce", _reproduce, "the paper's comparison, as a report")
    cli_reproduce.add_arguments(reproduce)

    rewards = _command(commands, "rewards", _rewards, "which published rewards are here")
    rewards.add_argument("--download", nargs="+", default=[], metavar="NAME", help="fetch these")

    fetch = _command(commands, "download", cli_models.download, "fetch a model or preset's files")
    cli_models.add_download_arguments(fetch)
    export = _command(commands, "export", cli_models.export, "an adapter for another program")
    cli_models.add_export_arguments(export, _home() / "runs")
    study = _command(commands, "study", _study, "build, open, export a blind user study")
    cli_study.add_study_arguments(study)

    _command(commands, "doctor", _doctor, "check the installation")

    evaluate = _command(commands, "evaluate", _evaluate, "compare runs and the base model")
    cli_evaluate.add_arguments(evaluate)
    retrieval = _command(commands, "retrieval", _retrieval, "does a model draw what it is told?")
    _sampling_arguments(retrieval)

    bench = _command(
        commands, "bench", _bench, "time updates, drawing, rewards, or count an update"
    )
    cli_bench.add_arguments(bench)
    return parser


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace, list[str]], None], text: str
) -> argparse.ArgumentParser:
    # Abbreviated flags would take a setting for one of ours: --seed for --seeds.
    described = text.capitalize() + "."
    parser = commands.add_parser(name, help=text, description=described, allow_abbrev=False)
    parser.set_defaults(command=function, word=name, takes_settings=False)
    return parser


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train every combination of settings with several seeds, over the queue. Every setting is "
        "a flag. The same command goes on with the same sweep; what is done is kept."
    )
    parser.add_argument("source", metavar="PRESET", help="settings that all runs share")
    parser.add_argument(
        "--grid", nargs="+", required=True, metavar="NAME=VALUE,...", help="beta=0,0.1 ..."
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs of each combination")
    parser.add_argument("--inline", action="store_true", help="train here, not over the queue")
    parser.add_argument("--no-wait", action="store_true", help="queue the runs and return")
    parser.set_defaults(takes_settings=True)


def _sampling_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("model", "num_inference_steps", "guidance_scale", "grid", "device"):
        field = RunConfig.model_fields[name]
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, default=field.default, help=field.description, dest=name)


def _home() -> Path:
    return Path(os.path.expanduser(os.environ.get("ROCM_HOME") or "data"))


def _train(options: argparse.Namespace, rest: list[str]) -> None:
    cli_train.train(options, rest, _home())


def _sample(options: argparse.Namespace, rest: list[str]) -> None:
    from rocm.generation.picture import png_bytes
    from rocm.generation.sampler import Sampler

    if not 1 <= options.num <= 1000:
        raise ConfigError("--num is 1 to 1000.")
    if not options.out.name:
        raise ConfigError(f"--out {options.out} names no file. Give one, such as picture.png.")
    RunConfig.load({"device": options.device})
    first = Picture(
        prompt=options.prompt,
        seed=options.seed,
        adapter=str(options.adapter or ""),
        adapter_strength=options.adapter_strength,
        **{name: getattr(options, name) for name in SAMPLING},
    ).checked()
    cli_train.silence_libraries()
    pictures = [replace(first, seed=first.seed + offset).checked() for offset in range(options.num)]
    with joined() as ranks:
        for drawn in Sampler(options.device).draw(pictures, ranks=ranks):
            picture, out = pictures[drawn.index], options.out
            path = out if options.num == 1 else out.with_stem(f"{out.stem}-{picture.seed}")
            if ranks.rank == 0:
                _save_picture(png_bytes(drawn.image, picture), path)
                print(path)


def _save_picture(content: bytes, path: Path) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror}. Choose another --out.") from error


def _runs(options: argparse.Namespace, rest: list[str]) -> None:
    from rocm.studio import Services

    options.rest = rest
    print(options.action(Services(_home()), options))


def _study(options: argparse.Namespace, rest: list[str]) -> None:
    print(cli_study.run(_home(), options))


def _sweep(options: argparse.Namespace, rest: list[str]) -> None:
    from rocm.experiments.sweep import table
    from rocm.studio import Services

    services, overrides = Services(_home()), cli_runs.settings(rest)
    grid = cli_runs.grid(options.grid)
    if options.inline:
        sweep_id = _sweep_inline(options, grid, overrides)
    else:
        sweep_id = services.start_sweep(options.source, grid, options.seeds, overrides)
        if not options.no_wait:
            cli_runs.wait_for_sweep(services, sweep_id, lambda line: print(line, flush=True))
    print(table(services.sweep_report(sweep_id)))
    print(f"{services.export_sweep(sweep_id)}")


def _sweep_inline(
    options: argparse.Namespace, grid: dict[str, list[str]], overrides: dict[str, str]
) -> str:
    """Train what is open of a sweep within this process; returns the sweep's id."""
    from rocm.experiments.sweep import Sweeps
    from rocm.runs.queue import Queue

    sweeps = Sweeps(_home().resolve(), Queue(_home()))
    config = RunConfig.load(cli_train.source_of(options.source, _home()), **overrides)
    sweep_id = sweeps.plan(options.source, config, grid, options.seeds)
    for run, settings in sweeps.open_runs(sweep_id):
        if not run.written_state():
            sweeps.create(sweep_id, run, settings)
        print(run.path.name, flush=True)
        try:
            cli_train.watch(run)
        except RocmError as error:
            print(f"rocm: {run.path.name}: {error}", file=sys.stderr)
        if run.status().state == "stopped":
            print("The same command goes on with the sweep.")
            break
    return sweep_id


def _reproduce(options: argparse.Namespace, rest: list[str]) -> None:
    cli_train.silence_libraries()
    print(cli_reproduce.reproduce(options, _home()))


def _rewards(options: argparse.Namespace, rest: list[str]) -> None:
    for line in cli_rewards.fetch_rewards(options.download):
        print(line, flush=True)
    print(cli_rewards.reward_table())


def _doctor(options: argparse.Namespace, rest: list[str]) -> None:
    print(f"python {platform.python_version()}")
    for package in PACKAGES:
        print(f"{package} {_version(package)}")
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(f"CUDA device: {cuda}; CPU threads: {torch.get_num_threads()}")
    print(f"ROCM_HOME: {_home().resolve()}")
    missing = list(_missing(ASSETS))
    if missing:
        raise MissingFile(f"Missing from {ROOT}: {', '.join(missing)}. Clone the repository again.")
    print("Embedded model and rewards: present")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise MissingFile(
            f"{package} is not installed. Run: pip install -r requirements.txt"
        ) from error


def _missing(folders: Iterable[str]) -> Iterable[str]:
    for folder in folders:
        try:
            find_folder(folder)
        except MissingFile:
            yield folder


def _evaluate(options: argparse.Namespace, rest: list[str]) -> None:
    if num_started() > 1:  # then this process draws, not one of its own with a log
        cli_train.silence_libraries()
    print(cli_evaluate.evaluate(options, _home()), end="")


def _retrieval(options: argparse.Namespace, rest: list[str]) -> None:
    cli_train.silence_libraries()
    print(cli_evaluate.retrieval(options))


def _bench(options: argparse.Namespace, rest: list[str]) -> None:
    cli_train.silence_libraries()
    print(cli_bench.bench(options))
