"""`python -m rocm.cli.trainer DIR`: train the created run in DIR; the queue starts runs with it.

The run continues from its newest checkpoint, or begins. In a job of an engine it ends with code 75
if the job has to end before the run: it waits again, with a checkpoint.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocm.distributed import ALONE, Ranks
from rocm.errors import RocmError
from rocm.runs.engines.slurm import HANDED_BACK
from rocm.runs.liveness import ACTIVE
from rocm.runs.queue import Queue
from rocm.runs.run_dir import RunDir
from rocm.storage.numbers import MINUS, duration, number

SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, n)]

if TYPE_CHECKING:
    from rocm.training.loop import Progress


def main(arguments: Sequence[str]) -> int:
    """Train a run; returns the exit code, 0, 75, or 2 with one sentence on stderr."""
    # Threads that wait by spinning starve one another on a busy machine; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        run = RunDir(Path(arguments[0]))
        if run.engine and run.written_state() not in ("submitted", *ACTIVE):
            print(f"{run.path.name} is {run.written_state()}: nothing to train.")
            return 0
        if run.engine:  # before torch is loaded: a signal must not kill the job meanwhile
            _hand_back_at_signals(run)
        watch(run)
        if run.engine and run.written_state() == "submitted":
            return HANDED_BACK
    except RocmError as error:
        print(f"rocm: {error}", file=sys.stderr)
        return 2
    return 0


def watch(run: RunDir, ranks: Ranks = ALONE) -> None:
    """Train a run in this process, with a progress bar and a closing line.

    Ctrl-C and SIGTERM end it after this update, with a checkpoint; a second signal ends it at once.
    At the end the queue that the run belongs to continues. `ranks` share the work; this leads.
    """
    try:
        _watch(run, ranks)
    finally:
        home = run.path.resolve().parent.parent
        if (home / "queue.lock").is_file() and not run.engine:
            Queue(home).ensure_worker()


def _watch(run: RunDir, ranks: Ranks) -> None:
    from tqdm import tqdm

    from rocm.experiments.reproduce.runner import budget_of, spend
    from rocm.training.loop import train

    silence_libraries()
    began = time.monotonic()
    bar = tqdm(total=run.config().num_steps, unit="update", file=sys.stdout, mininterval=1)

    def stop(number: int, frame: object) -> None:
        if (run.path / "control" / "stop").exists():
            raise KeyboardInterrupt
        print(f"\nStopping after this update. Continue with --resume {run.path}")
        run.request("stop")

    handled = nullcontext() if run.engine else handling_signals(stop)
    with handled, bar:
        budget = budget_of(run)
        is_resumed = bool(run.checkpoints())
        for progress in spend(run, budget, ranks) if budget else train(run, is_resumed, ranks):
            bar.n = progress.step
            bar.set_postfix(_figures(progress), refresh=False)
            bar.refresh()
    print(_closing_line(run, time.monotonic() - began))


def _hand_back_at_signals(run: RunDir) -> None:
    """From now on a signal lets the run wait again, with a checkpoint after this update."""

    def hand_back(number: int, frame: object) -> None:
        (run.path / "control" / "hand_back").touch()  # signals may come in the midst of one

    for one in SIGNALS:
        signal.signal(one, hand_back)


@contextmanager
def handling_signals(handler: Any) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM by `handler`; processes forked later inherit the old handlers."""
    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def silence_libraries() -> None:
    """Leave the progress bar and the log to this program."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def _figures(progress: "Progress") -> dict[str, str]:
    names = ("reward", "divergence") if progress.step else ("eval/reward",)
    row = progress.row
    return {name: _figure(row[name]) for name in names if name in row}


def _closing_line(run: RunDir, seconds: float) -> str:
    status = run.status()
    rows = [row for row in run.metrics() if "eval/reward" in row]
    first, last = rows[0], rows[-1]
    # A judge that steers is not held out.
    words = "judge/" if run.config().is_judge_steering else "heldout/"
    changes = [
        f"{name.replace('heldout/', words)} {_figure(first[name])} -> {_figure(last[name])}"
        for name in last
        if name == "eval/reward" or name.startswith(("heldout/", "audit/"))
    ]
    return (
        f"{status.state.capitalize()} after {status.step} updates, {duration(seconds)}. "
        f"{', '.join(changes)}. Adapter: {run.path / 'adapter'}"
    )


def _figure(value: float) -> str:
    """Three decimals; the minus is a hyphen, which every terminal and log can encode."""
    return number(value, 3).replace(MINUS, "-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
