"""Real processes for tests: a run as a context, its status by a generated client, its records, what it leaves behind.

Paths are those of the runfiles under Bazel, and of the repository (with bazel-bin/) outside of it.
"""

import contextlib
import functools
import importlib
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import grpc
from grpc_tools import protoc

# What tests call by this module's name.
from run_folder import TIMINGS, completions, json_lines, processes_of, records  # noqa: F401

_IN_BAZEL = "TEST_SRCDIR" in os.environ
ROOT = (
    pathlib.Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
    if _IN_BAZEL
    else pathlib.Path(__file__).resolve().parents[2]
)
_BINARIES = ROOT if _IN_BAZEL else ROOT / "bazel-bin"
GRPOCTL = _BINARIES / "tools/grpoctl"
TRAINER = _BINARIES / "trainer/trainer"
ROLLOUT_WORKER = _BINARIES / "rollout/rollout_worker"
REWARD_SERVER = _BINARIES / "reward/reward_server"
MY_RULE_CPP = _BINARIES / "sdk/my_rule_cpp"

# The twins that heed GRPO_FAILPOINTS (common/failpoint_on.h), under the names that grpoctl looks for beside itself.
_TWINS = {
    "trainer": _BINARIES / "trainer/trainer_failpoints",
    "rollout_worker": _BINARIES / "rollout/rollout_worker_failpoints",
    "reward_server": _BINARIES / "reward/reward_server_failpoints",
}

QUICKSTART = ROOT / "configs/quickstart.yaml"
OWN_PROBLEMS = ROOT / "configs/own_problems.yaml"
TINY = ROOT / "tests/e2e/tiny.yaml"
DISTILL = ROOT / "tests/e2e/distill.yaml"
ROUNDS = ROOT / "tests/e2e/rounds.yaml"

# Exit codes that scripts rely on (common/exit_codes.h).
EXIT_OK, EXIT_FAILED, EXIT_DATA, EXIT_NO_INPUT, EXIT_UNAVAILABLE = 0, 1, 65, 66, 69
EXIT_CANNOT_CREATE, EXIT_RETRY, EXIT_CONFIG = 73, 75, 78

# The most that a call takes which is answered at once, on a machine that does much else.
CALL_S = 60


def _generate_client():
    """The Python modules of proto/, generated as a stranger would."""
    out = tempfile.mkdtemp(prefix="client.", dir=os.environ.get("TEST_TMPDIR"))
    files = [f"proto/{name}.proto" for name in ("types", "coordinator", "reward", "trainer")]
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{ROOT}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}", *files]
    if protoc.main(arguments) != 0:
        raise RuntimeError(f"protoc cannot read {files}")
    sys.path.insert(0, out)
    modules = ("types_pb2", "coordinator_pb2", "coordinator_pb2_grpc", "reward_pb2", "trainer_pb2", "trainer_pb2_grpc")
    return [importlib.import_module(f"proto.{module}") for module in modules]


types_pb2, coordinator_pb2, coordinator_pb2_grpc, reward_pb2, trainer_pb2, trainer_pb2_grpc = _generate_client()


def wait_until(condition, what, timeout_s=60):
    """Polls until `condition()` is true and returns its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain until {what}")
        time.sleep(0.01)
    return value


def free_port():
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(pid):
    """Environment variables of a process; none when it has ended."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        return dict(variable.split("=", 1) for variable in text.split("\0") if "=" in variable)
    return {}


def _socket_address(kernel_text):
    """IP address and port in "0100007F:C35B": the kernel writes an address as 32-bit words in its own byte order."""
    words, _, port = kernel_text.partition(":")
    packed = b"".join(int(words[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(words), 8))
    address = ipaddress.ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address, int(port, 16)


def listeners_of(pid):
    """(IP address, port) pairs that a process listens on."""
    inodes = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(fd).removeprefix("socket:[").removesuffix("]"))
    rows = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            rows += [line.split() for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
    listening = "0A"
    return [_socket_address(row[1]) for row in rows if row[3] == listening and row[9] in inodes]


def binary(path):
    """A program that Bazel has built: binary("tools/grpoctl")."""
    return _BINARIES / path


def grpoctl(*arguments, stdin="", program=GRPOCTL):
    """One finished call of grpoctl, with its texts."""
    command = [str(argument) for argument in (program, *arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=2 * CALL_S, check=False)


def address_in(endpoint):
    """The address in the file that a process writes once it serves."""
    wait_until(endpoint.exists, f"{endpoint.name} is there")
    return json.loads(endpoint.read_text())["address"]


def get_status(channel):
    """Waits for a connection, which makes it: gRPC works at one while a call is under way, and hardly in between."""
    stub = trainer_pb2_grpc.TrainerServiceStub(channel)
    return stub.GetStatus(trainer_pb2.GetStatusRequest(), timeout=5, wait_for_ready=True)


def grpoctl_that_starts(programs):
    """A copy of grpoctl that starts these: {name that it looks for beside itself: path}."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="programs.", dir=os.environ.get("TEST_TMPDIR")))
    # A copy, since grpoctl looks beside the file that it really is; links, since the programs find LibTorch in that way.
    shutil.copy(GRPOCTL, folder / "grpoctl")
    for name, program in programs.items():
        (folder / name).symlink_to(program.resolve())
    return folder / "grpoctl"


@functools.cache
def _grpoctl_with_twins():
    return grpoctl_that_starts(_TWINS)


class Run:
    """`grpoctl run` as a child, from start to exit; leaving the context kills what is left of it.

    With `failpoints` (the syntax is in common/failpoint_on.h) its processes fail where that says; `fired()` tells
    whether they did. `program` is the grpoctl to start without them.
    """

    def __init__(
        self, run_dir, config=None, settings=None, resume=False, max_restarts=None, failpoints=None, program=GRPOCTL
    ):
        self.run_dir = pathlib.Path(run_dir)
        environment = dict(os.environ)
        if failpoints is not None:
            self._marks = pathlib.Path(tempfile.mkdtemp(prefix="marks.", dir=os.environ.get("TEST_TMPDIR")))
            environment |= {"GRPO_FAILPOINTS": failpoints, "GRPO_FAILPOINT_DIR": str(self._marks)}
        command = [program if failpoints is None else _grpoctl_with_twins(), "run", "--run-dir", self.run_dir]
        if config is not None:
            command.append(config)
        for key, value in (settings or {}).items():
            command += ["--set", f"{key}={value}"]
        if resume:
            command.append("--resume")
        if max_restarts is not None:
            command += ["--max-restarts", str(max_restarts)]
        # Appending: the child shares the file position that reading moves.
        self._stdout, self._stderr = tempfile.TemporaryFile("a+"), tempfile.TemporaryFile("a+")
        self._process = subprocess.Popen(
            [str(word) for word in command], stdout=self._stdout, stderr=self._stderr, env=environment
        )
        self._channel = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._channel is not None:
            self._channel.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._stdout, self._stderr):
            stream.close()

    @property
    def pid(self):
        return self._process.pid

    @property
    def stdout(self):
        self._stdout.seek(0)
        return self._stdout.read()

    @property
    def stderr(self):
        self._stderr.seek(0)
        return self._stderr.read()

    def fired(self):
        """{"files.fsync.0": {"pid": "17", "name": "files.fsync", "detail": PATH, "hit": "3"}} of what has failed."""
        marks = {mark.name: mark.read_text() for mark in sorted(self._marks.iterdir())}
        # A mark that is being written has no end yet.
        return {
            name: dict(line.split(" ", 1) for line in text.splitlines())
            for name, text in marks.items()
            if text.endswith("\n")
        }

    def signal(self, number):
        self._process.send_signal(number)

    def wait(self, timeout_s=60):
        """The exit code; 128+n after signal n."""
        code = self._process.wait(timeout_s)
        return code if code >= 0 else 128 - code

    def endpoint(self):
        """endpoint.json, once it is there."""
        path = self.run_dir / "endpoint.json"

        def read():
            if self._process.poll() is not None:
                raise AssertionError(f"the run ended with {self._process.returncode} before it served:\n{self.stderr}")
            return path.exists() and json.loads(path.read_text())

        return wait_until(read, "the run serves")

    def channel(self):
        if self._channel is None:
            # A trainer that is started again is found soon: gRPC's own wait, a second and more, may be longer than the stage.
            waits = [(f"grpc.{which}_reconnect_backoff_ms", 50) for which in ("initial", "max")]
            self._channel = grpc.insecure_channel(self.endpoint()["address"], waits)
        return self._channel

    def client(self):
        return trainer_pb2_grpc.TrainerServiceStub(self.channel())

    def status(self):
        return get_status(self.channel())

    def wait_for_step(self, stage, step, timeout_s=60):
        """Until so many steps of the stage are done; the status that showed it."""

        def reached():
            try:
                status = self.status()
            except grpc.RpcError:
                # A trainer that is being restarted is asked again.
                assert self._process.poll() is None, self.stderr
                return None
            current = next(row for row in status.stages if row.name == stage)
            return status if current.step >= step else None

        return wait_until(reached, f"{stage} is at step {step}", timeout_s)

    def reward_address(self):
        """Where the reward server serves that the coordinator names first."""
        servers = wait_until(lambda: self.status().reward_servers, "a reward server is registered")
        return servers[0].address

    def pid_of(self, child):
        """A process by its name in the plan: "reward-0", "rollout-0", or a rank of the trainer ("trainer", "trainer-1")."""
        role, _, number = child.partition("-")
        if role == "trainer":
            return next(pid for pid in processes_of(self.run_dir) if _environment(pid).get("RANK") == (number or "0"))
        mark = f"--name {child} "
        return next(pid for pid, command in processes_of(self.run_dir).items() if mark in command and pid != self.pid)


class EndToEndTest(unittest.TestCase):
    """A scratch folder for each test, and the proof that the test leaves no process behind."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="e2e.", dir=os.environ.get("TEST_TMPDIR")))
        self.addCleanup(self._assert_nothing_left)

    def _assert_nothing_left(self):
        try:
            # A kernel takes a moment to end what a killed parent leaves.
            wait_until(lambda: not processes_of(self.folder), f"no process of {self.folder} is left", timeout_s=5)
        finally:
            for pid in processes_of(self.folder):
                os.kill(pid, signal.SIGKILL)

    def run_to_end(self, run_dir, config=None, settings=None, resume=False, program=GRPOCTL):
        """Runs without disturbance and returns what was shown on stdout."""
        with Run(run_dir, config, settings, resume, program=program) as run:
            code = run.wait()
            self.assertEqual(EXIT_OK, code, run.stderr)
            return run.stdout

    def assert_same_results(self, expected_dir, run_dir):
        """Every record, completion and weight of one run is that of the other, to the last bit; only times differ."""
        self.assertEqual(records(expected_dir), records(run_dir))
        samples = completions(expected_dir)
        self.assertTrue(samples)
        self.assertEqual(samples, completions(run_dir))
        expected = {path.relative_to(expected_dir): path.read_bytes() for path in expected_dir.glob("models/*/*")}
        self.assertTrue(expected)
        for path, content in expected.items():
            self.assertEqual(content, (run_dir / path).read_bytes(), path)


class AgainstUndisturbedRunTest(EndToEndTest):
    """Has one run that nobody touched, and a place for another that is compared with it."""

    # Of the undisturbed run: what it does, the grpoctl that starts it, and how long it may take.
    CONFIG = TINY
    SETTINGS = {}
    PROGRAM = GRPOCTL
    PATIENCE_S = 60

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="undisturbed.", dir=os.environ.get("TEST_TMPDIR"))
        cls.addClassCleanup(scratch.cleanup)
        cls.undisturbed = pathlib.Path(scratch.name, "run")
        with Run(cls.undisturbed, cls.CONFIG, cls.SETTINGS, program=cls.PROGRAM) as run:
            if run.wait(cls.PATIENCE_S) != EXIT_OK:
                raise AssertionError(run.stderr)
        rewards = {record["reward"] for record in records(cls.undisturbed) if record["stage"] == "tune"}
        if cls.CONFIG == TINY and len(rewards) < 10:
            raise AssertionError(f"runs that earn nothing are all alike; the rewards are {rewards}")

    def setUp(self):
        super().setUp()
        self.run_dir = self.folder / "run"

    def start(self, program, *arguments):
        """A child with the undisturbed run's configuration, whose SHA-256 they compare; its words go to PROGRAM.log."""
        config = self.folder / "config.yaml"
        if not config.exists():
            shutil.copy(self.undisturbed / "config.yaml", config)
        log = (self.folder / f"{program.name}.log").open("a")
        command = [program, "--config", config, *arguments]
        child = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        for clean_up in (log.close, child.wait, child.kill):
            self.addCleanup(clean_up)
        return child

    def assert_undisturbed_results(self):
        self.assert_same_results(self.undisturbed, self.run_dir)

    def finish_and_compare(self):
        self.run_to_end(self.run_dir, resume=True)
        self.assert_undisturbed_results()
