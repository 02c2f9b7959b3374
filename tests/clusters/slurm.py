"""A Slurm cluster on this machine, for tests: three nodes, real daemons, nothing outside a scratch folder.

Needs root and Debian's slurmctld, slurmd, slurm-client and munge (tools/setup), and no running service of
theirs. All daemons listen on loopback and are killed at the end, with whatever they started.
"""

import contextlib
import getpass
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

NODES = ("n1", "n2", "n3")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
# Where Debian has daemons.
_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# AuthInfo's cred_expire: a job that was requeued waits until the credential of its last start has expired, two minutes by
# default. Each node asks for less than it has: config_overrides lets it be larger than the machine.
_CONFIG = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=0,batch_sched_delay=0,defer_batch
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=5
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """What this machine lacks for a cluster, in words; empty when it has all."""
    programs = [name for name in _PROGRAMS if shutil.which(name, path=_SEARCH) is None]
    if programs:
        return f"no {', '.join(programs)}: tools/setup installs them"
    return "" if os.geteuid() == 0 else "only root can start the daemons"


def free_ports(count):
    """So many ports of loopback that nobody listens at."""
    with contextlib.ExitStack() as sockets:
        probes = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Slurm:
    """The cluster, as a context. `environment` makes Slurm's clients, and what calls them, see it."""

    def __init__(self, cpus=8, memory_mb=8192):
        # munge's socket lies in it: a path of 108 bytes at most, through folders that everybody may pass.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="slurm.", dir="/tmp"))
        self.environment = dict(os.environ) | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _SEARCH}
        self._daemons = {}
        self._nodes = {}
        ports = free_ports(1 + len(NODES))
        for node, port in zip(NODES, ports[1:]):
            self._nodes[node] = (
                f"NodeName={node} NodeHostname={socket.gethostname().split('.')[0]} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN"
            )
        config = _CONFIG.format(
            folder=self.folder, port=ports[0], user=getpass.getuser(), nodes="\n".join(self._nodes.values())
        )
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(mode=0o700)
        (self.folder / "slurm.conf").write_text(config)

    def __enter__(self):
        try:
            self._start_munge()
            self._start("slurmctld", "slurmctld", "-D", "-c", "-f", self.folder / "slurm.conf")
            for node in NODES:
                self.start_node(node)
            self.wait_until(lambda: self.node_states() == {node: "idle" for node in NODES}, "all nodes are idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.call("scancel", "--user", getpass.getuser(), "--signal=KILL", "--full", check=False)
        for name in reversed(list(self._daemons)):
            self._kill(name)
        # Steps are no children of ours; their environment says whose they are.
        mark = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        for pid in _processes_with(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_munge(self):
        folder = self.folder / "munge"
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._start(
            "munged", "munged", "--foreground", "--force", f"--socket={self.folder / 'munge.socket'}", f"--key-file={key}",
            f"--pid-file={folder / 'munged.pid'}", f"--seed-file={folder / 'munged.seed'}", "--num-threads=2",
        )
        self.wait_until((self.folder / "munge.socket").exists, "munged listens")

    def _start(self, name, *command):
        log = (self.folder / f"{name}.out").open("a")
        words = [str(word) for word in command]
        words[0] = shutil.which(words[0], path=_SEARCH)
        self._daemons[name] = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True
        )
        log.close()

    def _kill(self, name):
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def start_node(self, node):
        """A slurmd under this name; one that was killed comes back."""
        self._start(node, "slurmd", "-D", "-N", node, "-f", self.folder / "slurm.conf")

    def kill_node(self, node):
        """The machine is gone: its slurmd and all steps on it, without a word."""
        self._kill(node)
        tasks = [
            pid
            for pid in _processes_with(f"SLURM_CONF={self.folder / 'slurm.conf'}\0".encode())
            if f"SLURMD_NODENAME={node}\0".encode() in _environ(pid)
        ]
        # First those that would tell of the deaths of the others.
        keepers = {parent for parent in map(_parent, tasks) if _name(parent) == "slurmstepd"}
        for pid in [*keepers, *tasks]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def call(self, *command, check=True, timeout_s=60):
        """One finished call of a client of Slurm's; its stdout."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{words} ended with {done.returncode}: {done.stderr}{self.logs()}")
        return done.stdout

    def node_states(self):
        lines = self.call("sinfo", "--noheader", "--Node", "--format=%N %t", check=False).split("\n")
        return dict(line.split() for line in lines if line)

    def jobs(self):
        """{job: state} of what the controller remembers."""
        lines = self.call("squeue", "--noheader", "--states=all", "--format=%i %T").split("\n")
        return dict(line.split() for line in lines if line)

    def state(self, job):
        return self.jobs().get(str(job))

    def restarts(self, job):
        shown = self.call("scontrol", "show", "--oneliner", "job", job)
        return int(next(word for word in shown.split() if word.startswith("Restarts=")).partition("=")[2])

    def wait_until(self, condition, what, timeout_s=60):
        """Polls until `condition()` is true and returns its value; what the daemons said goes into the error."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout_s} s in vain until {what}\n{self.logs()}")
            time.sleep(0.05)
        return value

    def logs(self):
        """The last lines of each daemon's log."""
        texts = []
        for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")]):
            lines = path.read_text(errors="replace").splitlines()[-20:]
            texts.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(texts)


def _environ(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _stat(pid):
    """Name and parent of a process; of one that has ended, neither."""
    with contextlib.suppress(OSError):
        name, _, rest = pathlib.Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        return name, int(rest.split()[1])
    return "", 0


def _name(pid):
    return _stat(pid)[0]


def _parent(pid):
    return _stat(pid)[1]


def _processes_with(mark):
    """Pids of the processes whose environment holds this text."""
    pids = [int(entry.name) for entry in pathlib.Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if pid != os.getpid() and mark in _environ(pid)]
