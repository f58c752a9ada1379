"""Real engines in temporary folders: a Slurm of two nodes, and a Ray of one, on this machine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.generation.conftest import wait_until

SLURM = ("munged", "slurmctld", "slurmd", "sbatch")
PATH = f"{os.environ['PATH']}:/usr/sbin"
NODES = ("node1", "node2")
CONF = """
ClusterName=tested
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
JobRequeue=1
KillWait=5
SlurmdTimeout=10
MessageTimeout=30
InactiveLimit=0
MinJobAge=600
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1 RealMemory=8000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1 RealMemory=8000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE OverTimeLimit=0 State=UP
"""


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Daemons:
    """Processes by name, which write to files in a folder."""

    def __init__(self, folder: Path):
        self.folder, self._processes = folder, {}

    def begin(self, name, *command):
        with open(self.folder / f"{name}.out", "ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )


class Cluster(Daemons):
    """Slurm's controller and two nodes of one core each; a node can be killed and come back."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        ports = dict(zip(("controller", "first", "second"), free_ports(3), strict=True))
        text = CONF.format(host=socket.gethostname(), folder=folder, **ports)
        (folder / "slurm.conf").write_text(text)
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}
        for name in ("state", "munge", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()

    def start(self):
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        words = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
        words.append(f"--socket={munge / 'socket'}")
        self.begin("munged", "munged", "--foreground", "--force", *words)
        wait_until(lambda: (munge / "socket").exists())
        self.begin("slurmctld", "slurmctld", "-D", "-i")
        for node in NODES:
            self.start_node(node)
        wait_until(lambda: self.nodes_in("idle") == 2)

    def start_node(self, node):
        self.begin(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node):
        """As a power cut: the daemon and all that it started are gone at once."""
        daemon, tasks = self._processes.pop(node), []
        self._each(lambda one: one.environ().get("SLURMD_NODENAME") == node and tasks.append(one))
        steps = [parent for task in tasks for parent in task.parents()]
        daemon.kill()
        for one in [*(step for step in steps if step.name().startswith("slurmstepd")), *tasks]:
            one.kill()
        daemon.wait()

    def nodes_in(self, state):
        """Number of nodes in a state."""
        return self.ask("sinfo", "-h", "-N", "-o", "%t").split().count(state)

    def ask(self, *command):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def end(self):
        mine = psutil.Process()
        kept = [mine.pid, *(parent.pid for parent in mine.parents())]
        self._each(lambda one: one.pid not in kept and self._is_mine(one) and one.kill())
        for process in self._processes.values():
            process.wait()

    def _is_mine(self, process):
        if process.name() == "slurmstepd":  # it hides its environment
            return any(file.path.startswith(str(self.folder)) for file in process.open_files())
        return process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]

    def _each(self, act):
        for process in psutil.process_iter():
            try:
                act(process)
            except psutil.Error:  # it has just ended
                continue


def running(kind, name):
    """A cluster from its start to its end, in a folder and environment of its own."""
    folder = Path("/tmp") / f"rocm-{name}-{os.getpid()}"  # a short path: sockets have 108 bytes
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    cluster = kind(folder)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in cluster.environment.items():
            patch.setenv(variable, value)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.end()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def slurm():
    """A cluster of two nodes whose commands are those on the path."""
    missing = [name for name in SLURM if not shutil.which(name, path=PATH)]
    if missing or os.geteuid():
        pytest.skip(f"Slurm is missing ({missing}) or this is not root: apt-get install slurm-wlm")
    yield from running(Cluster, "slurm")


class RayCluster(Daemons):
    """A head and one node, each with one core; the node can be killed."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._gcs, self._dashboard = free_ports(2)
        self.url = f"http://127.0.0.1:{self._dashboard}"
        self.environment = {"RAY_ADDRESS": self.url}

    def start(self):
        ports = [f"--port={self._gcs}", f"--dashboard-port={self._dashboard}"]
        ports += ["--dashboard-host=127.0.0.1", f"--temp-dir={self.folder}"]
        self._begin("head", "--head", *ports)
        self.start_node()
        wait_until(lambda: self._num_nodes() == 2, 120)

    def start_node(self):
        self._begin("node", f"--address=127.0.0.1:{self._gcs}")

    def kill_node(self):
        """As a power cut: all processes of the node and what they started are gone at once."""
        self._kill(self._processes.pop("node"))

    def end(self):
        for process in self._processes.values():
            self._kill(process)

    def _num_nodes(self):
        try:
            with urllib.request.urlopen(f"{self.url}/api/cluster_status", timeout=5) as answer:
                status = json.load(answer)["data"]["clusterStatus"]
        except OSError:
            return 0
        return len((status.get("autoscalerReport") or {}).get("activeNodes") or {})

    def _begin(self, name, *words):
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *words]
        own = ["--num-cpus=1", "--disable-usage-stats", "--object-store-memory=100000000"]
        self.begin(name, *command, *own)

    def _kill(self, process):
        family = [*psutil.Process(process.pid).children(recursive=True), process]
        for one in family:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()


@pytest.fixture(scope="module")
def ray_cluster():
    if not Path(sys.executable).with_name("ray").exists():
        pytest.skip("Ray is missing: pip install -r requirements-ray.txt")
    yield from running(RayCluster, "ray")
