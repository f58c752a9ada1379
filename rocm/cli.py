"""`python -m rocm`: train, sample, evaluate, queue, sweep, benchmark, check the installation.

What a user can mend ends as one line and exit code 2.
"""

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocm import cli_evaluate, cli_models, cli_reproduce, cli_rewards, cli_runs, cli_study
from rocm.config import ROOT, RunConfig, find_folder, preset_names
from rocm.drawing.picture import SAMPLING, Picture
from rocm.errors import ConfigError, MissingFile, RocmError, RunError

if TYPE_CHECKING:
    from rocm.training.loop import Progress
    from rocm.training.run_dir import RunDir

PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "peft", "gradio", "plotly")
ASSETS = ("assets/tiny-lcm", "assets/tiny-clip", "assets/tiny-judge", "assets/tiny-eval")


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
    train.formatter_class = argparse.RawDescriptionHelpFormatter
    train.epilog = _settings_help()
    train.add_argument("source", nargs="?", metavar="PRESET|FILE", help="preset name or YAML file")
    train.add_argument("--run-dir", type=Path, help="where the run is kept")
    train.add_argument("--resume", type=Path, metavar="DIR", help="continue a run")
    cli_models.add_train_arguments(train)

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

    bench = _command(commands, "bench", _bench, "time a training update part by part, or drawing")
    bench.add_argument("what", choices=["step", "draw"])
    bench.add_argument("--preset", default="tiny-rocm-kl", help="settings of the update")
    bench.add_argument("--rounds", type=int, default=5, help="updates or requests that are timed")
    return parser


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace, list[str]], None], text: str
) -> argparse.ArgumentParser:
    # Abbreviated flags would take a setting for one of ours: --seed for --seeds.
    described = text.capitalize() + "."
    parser = commands.add_parser(name, help=text, description=described, allow_abbrev=False)
    parser.set_defaults(command=function, takes_settings=False)
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


def _settings_help() -> str:
    lines = [
        f"  --{name.replace('_', '-')} (default {field.default!r})\n      {field.description}"
        for name, field in RunConfig.model_fields.items()
    ]
    return "settings:\n" + "\n".join(lines) + "\n\npresets:\n  " + "\n  ".join(preset_names())


def _home() -> Path:
    return Path(os.path.expanduser(os.environ.get("ROCM_HOME") or "data"))


def _train(options: argparse.Namespace, rest: list[str]) -> None:
    from rocm.training.run_dir import RunDir

    if options.resume:
        if options.source or rest:
            raise ConfigError(
                "--resume takes its settings from the run; give no preset or setting."
            )
        run = RunDir(options.resume)
        run.config()
        if not run.checkpoints():
            print(f"{run.path} has no checkpoint yet: it begins anew.", flush=True)
    else:
        if not options.source:
            raise ConfigError(f"Which preset or file? Presets: {', '.join(preset_names())}.")
        config = RunConfig.load(_source(options.source), **cli_runs.settings(rest))
        config = cli_study.trained_on_votes(cli_models.adjusted(config, options), _home())
        preset = Path(options.source).stem
        name = f"{preset}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        run = RunDir.create(options.run_dir or _home() / "runs" / name, config, preset)
        run.write_launch(os.getpid())  # loading torch may take longer than the queue would wait
    try:
        _watch(run)
    finally:
        _hand_over(run)


def _source(name: str) -> str | Path:
    """A preset's name or a file; the user's own presets go by their name too."""
    own = _home() / "presets" / f"{name}.yaml"
    return own if name not in preset_names() and os.path.isfile(own) else name


def _hand_over(run: "RunDir") -> None:
    """Let the queue that the run belongs to go on, should its worker have died meanwhile."""
    from rocm.queue import Queue

    home = run.path.resolve().parent.parent
    if (home / "queue.lock").is_file():
        Queue(home).ensure_worker()


def _watch(run: "RunDir") -> None:
    from tqdm import tqdm

    from rocm.training.loop import train

    _silence_libraries()
    began = time.monotonic()
    bar = tqdm(total=run.config().num_steps, unit="update", file=sys.stdout, mininterval=1)
    with _stopping_on_signals(run), bar:
        for progress in train(run, resume=bool(run.checkpoints())):
            bar.n = progress.step
            bar.set_postfix(_figures(progress), refresh=False)
            bar.refresh()
    print(_closing_line(run, time.monotonic() - began))


@contextmanager
def _stopping_on_signals(run: "RunDir") -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after this update, with a checkpoint; a second one at once.

    The handlers before it are back at its end: what this process forks later inherits those.
    """

    def stop(number: int, frame: object) -> None:
        if (run.path / "control" / "stop").exists():
            raise KeyboardInterrupt
        print(f"\nStopping after this update. Continue with --resume {run.path}")
        run.request("stop")

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence_libraries() -> None:
    """One progress bar is enough: ours."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def _figures(progress: "Progress") -> dict[str, str]:
    names = ("reward", "divergence") if progress.step else ("eval/reward",)
    return {name: f"{progress.row[name]:.3g}" for name in names if name in progress.row}


def _closing_line(run: "RunDir", seconds: float) -> str:
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


def _sample(options: argparse.Namespace, rest: list[str]) -> None:
    from rocm.drawing.png import png_bytes
    from rocm.drawing.sampler import Sampler

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
    _silence_libraries()
    pictures = [replace(first, seed=first.seed + offset).checked() for offset in range(options.num)]
    for drawn in Sampler(options.device).draw(pictures):
        picture, out = pictures[drawn.index], options.out
        path = out if options.num == 1 else out.with_stem(f"{out.stem}-{picture.seed}")
        _save_picture(png_bytes(drawn.image, picture), path)
        print(path)


def _save_picture(content: bytes, path: Path) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror}. Choose another --out.") from error


def _runs(options: argparse.Namespace, rest: list[str]) -> None:
    from rocm.services import Services

    options.rest = rest
    print(options.action(Services(_home()), options))


def _study(options: argparse.Namespace, rest: list[str]) -> None:
    print(cli_study.run(_home(), options))


def _sweep(options: argparse.Namespace, rest: list[str]) -> None:
    from rocm.services import Services
    from rocm.sweep import table

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
    from rocm.queue import Queue
    from rocm.sweep import Sweeps

    sweeps = Sweeps(_home().resolve(), Queue(_home()))
    config = RunConfig.load(_source(options.source), **overrides)
    config = cli_study.trained_on_votes(config, _home())
    sweep_id = sweeps.plan(options.source, config, grid, options.seeds)
    for run, settings in sweeps.open_runs(sweep_id):
        if not run.written_state():
            sweeps.create(sweep_id, run, settings)
        print(run.path.name, flush=True)
        try:
            _watch(run)
        except RocmError as error:
            print(f"rocm: {run.path.name}: {error}", file=sys.stderr)
        if run.status().state == "stopped":
            print("The same command goes on with the sweep.")
            break
    return sweep_id


def _reproduce(options: argparse.Namespace, rest: list[str]) -> None:
    _silence_libraries()
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
    print(cli_evaluate.evaluate(options, _home()), end="")


def _retrieval(options: argparse.Namespace, rest: list[str]) -> None:
    _silence_libraries()
    print(cli_evaluate.retrieval(options))


def _bench(options: argparse.Namespace, rest: list[str]) -> None:
    if not 1 <= options.rounds <= 1000:
        raise ConfigError("--rounds is 1 to 1000.")
    if options.what == "draw":
        from rocm.drawing.latency import PROMPT, latency_table

        print(latency_table(Picture(PROMPT), options.rounds))
        return
    from rocm.bench import bench_step, step_table

    _silence_libraries()
    print(step_table(bench_step(RunConfig.load(options.preset), options.rounds)))
