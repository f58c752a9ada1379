"""A run trained for some seconds at a time, as where a GPU is lent: on a ZeroGPU Space."""

import time
from pathlib import Path

from rocm.errors import RocmError
from rocm.runs.run_dir import RunDir
from rocm.runs.slices import PAUSED
from rocm.training.loop import train

# Of a slice's seconds, those left for a checkpoint; an update may take longer than the last ones.
RESERVE_S = 6.0
SLOWER = 1.5


def train_slice(path: str, seconds: float) -> str:
    """Train the run in `path` in this process; ends, with a checkpoint, before `seconds` are over.

    Continues from the newest checkpoint, or begins. Returns `PAUSED` if updates are left, else the
    run's state; a failure is in the run's directory.
    """
    began = last = time.monotonic()
    run, longest, is_paused = RunDir(Path(path)), 0.0, False
    try:
        for progress in train(run, bool(run.checkpoints())):
            now = time.monotonic()
            if progress.step:
                longest = max(longest, now - last)
            last = now
            is_over = now - began + SLOWER * longest + RESERVE_S > seconds
            if is_over and progress.step < progress.num_steps and not is_paused:
                is_paused = True
                run.request("stop")
    except RocmError:  # written into the run's directory by `train`
        return "failed"
    state = run.status().state
    return PAUSED if is_paused and state == "stopped" else state
