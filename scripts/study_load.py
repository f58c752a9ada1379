"""Measures the vote store under load and under accidents: python -m scripts.study_load WHAT.

load       50 raters at once, every vote sent three times; [--database ADDRESS], default SQLite
processes  the same by two processes on one SQLite file
kill       kill -9 of a writing process, 20 times; what was acknowledged must be there
full       a file that may not grow, as on a full disk
"""

import argparse
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from threading import Lock

from rocm.errors import StudyError
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.store.pictures import Pictures
from rocm.study.store.session import Trial
from rocm.study.store.store import Store
from tests.study.small import STUDY, answers, fill, rater

NUM_RATERS, NUM_TRIALS, NUM_SENT = 50, 30, 3
DESIGN = {"votes_per_pair": 5, "main_per_rater": 28}
PRINTING = Lock()


def prepare(where: str | Path) -> Store:
    """A store with an open study of 280 pairs: 50 raters of 28 pairs, practice and a check."""
    store = Store.open(where)
    lifecycle.open_study(store, fill(store, 280, **DESIGN))
    return store


def work_through(store: Store, pool: ThreadPoolExecutor) -> list[float]:
    """One rater's whole work, each vote sent three times at once; seconds of every submission."""
    token, seconds = rater(store), []

    def submit(public_id: str) -> Trial | None:
        began = time.perf_counter()
        step = store.submit(token, public_id, answers())
        seconds.append(time.perf_counter() - began)
        return step.trial

    following = store.next_step(token).trial
    while (trial := following) is not None:
        following, *_ = pool.map(submit, [trial.public_id] * NUM_SENT)
        with PRINTING:  # or lines of two raters run into each other
            print(trial.public_id, flush=True)
    return seconds


def vote(store: Store, num_raters: int) -> list[float]:
    """Raters at once; seconds of every submission."""
    with (
        ThreadPoolExecutor(num_raters) as people,
        ThreadPoolExecutor(num_raters * NUM_SENT) as network,
    ):
        rounds = people.map(lambda _: work_through(store, network), range(num_raters))
        return [trial for votes in rounds for trial in votes]


def check(store: Store, acknowledged: list[str]) -> str:
    """Counts what is stored against what was acknowledged."""
    votes = store.votes(STUDY)
    stored = {row.trial for row in votes}
    lost = set(acknowledged) - stored
    wrong = [line for line in verify_counts(store) if "Picture" not in line]
    return (
        f"acknowledged {len(acknowledged)} trials, lost {len(lost)}; {len(votes)} votes of "
        f"{len(stored)} trials, doubled {len(votes) - 3 * len(stored)}; verify: {wrong or 'holds'}"
    )


def verify_counts(store: Store) -> list[str]:
    """What `verify` says; the pictures of this study are made up."""
    return verify(store, Pictures(Path("/nonexistent")), STUDY)


def load(where: str | Path) -> None:
    """Votes a second and percentiles of one submission."""
    store = prepare(where)
    said = StringIO()
    began = time.perf_counter()
    with redirect_stdout(said):
        seconds = sorted(vote(store, NUM_RATERS))
    took = time.perf_counter() - began
    trials = len(seconds) // NUM_SENT
    parts = {f"p{share}": seconds[int(len(seconds) * share / 100)] * 1000 for share in (50, 95, 99)}
    told = ", ".join(f"{name} {value:.0f} ms" for name, value in parts.items())
    print(
        f"{store.database.dialect}: {trials} trials, {len(seconds)} submissions in {took:.1f} s: "
        f"{len(seconds) / took:.0f} submissions/s, {3 * trials / took:.0f} votes/s; {told}, "
        f"max {seconds[-1] * 1000:.0f} ms"
    )
    print(check(store, said.getvalue().split()))
    store.close()


def child(file: Path, num_raters: int) -> subprocess.Popen[str]:
    """A process that votes and prints what was acknowledged."""
    command = [sys.executable, "-m", "scripts.study_load", "child", str(file), str(num_raters)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def processes(file: Path) -> None:
    """Two processes on one file."""
    prepare(file).close()
    both = [child(file, NUM_RATERS // 2) for _ in range(2)]
    began = time.perf_counter()
    said = [process.communicate()[0].split() for process in both]
    store = Store.open(file)
    acknowledged = [line for lines in said for line in lines]
    print(f"two processes, {time.perf_counter() - began:.1f} s: {check(store, acknowledged)}")
    print(f"exit codes {[process.returncode for process in both]}; integrity {integrity(file)}")
    store.close()


def integrity(file: Path) -> str:
    """SQLite's own check."""
    connection = sqlite3.connect(file)
    verdict = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    connection.close()
    return verdict


def kill(file: Path, times: int) -> None:
    """kill -9 of the writer at a random moment of its work."""
    prepare(file).close()
    acknowledged: list[str] = []
    dice = random.Random(0)
    for _ in range(times):
        writer = child(file, 6)
        assert writer.stdout
        acknowledged.append(writer.stdout.readline().strip())
        time.sleep(dice.uniform(0, 1))
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read()
        acknowledged += rest.rpartition("\n")[0].split()
        writer.wait()
        if integrity(file) != "ok":
            raise SystemExit("The database is damaged.")
    store = Store.open(file)
    acknowledged = [vote_id for vote_id in acknowledged if vote_id]
    print(f"{times} kills: {check(store, acknowledged)}; integrity {integrity(file)}")
    store.close()


def full(file: Path) -> None:
    """A disk that is full: the limit on the file's size is reached, then lifted."""
    store = prepare(file)
    token = rater(store)
    size = max(part.stat().st_size for part in file.parent.iterdir()) + 100_000
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    acknowledged, refused = [], ""
    for _ in range(NUM_TRIALS):
        try:
            trial = store.next_step(token).trial
            if trial is None:
                break
            store.submit(token, trial.public_id, answers())
            acknowledged.append(trial.public_id)
        except StudyError as error:
            refused = str(error)
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(f"after {len(acknowledged)} trials: {refused or 'never refused'}")
    while (trial := store.next_step(token).trial) is not None:
        store.submit(token, trial.public_id, answers())
        acknowledged.append(trial.public_id)
    print(f"with space again: {check(store, acknowledged)}; integrity {integrity(file)}")
    store.close()


def main() -> None:
    """Measure, with threads that switch as the app's do."""
    sys.setswitchinterval(0.0005)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["load", "processes", "kill", "full", "child"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--database", help="address of an empty PostgreSQL database")
    parser.add_argument("--times", type=int, default=20, help="of kill")
    options = parser.parse_args()
    if options.what == "child":
        store = Store.open(Path(options.rest[0]))
        vote(store, int(options.rest[1]))
        store.close()
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.sqlite3"
        if options.what == "load":
            load(options.database or file)
        else:
            actions = {"processes": processes, "full": full}
            kill(file, options.times) if options.what == "kill" else actions[options.what](file)
    print(json.dumps({"load average": os.getloadavg()}))


if __name__ == "__main__":
    main()
