"""Executes a run's plan on a Ray cluster: one placement group, one actor for each process. The standard library and ray.

    python3 ray_driver.py [--folder RUN/launch] [--max-restarts N]

It reads plan.json (tools/launch/run_plan.h) and ray.json (tools/launch/targets/ray.cc), and ends with the run's exit
code (common/exit_codes.h). `grpoctl launch --on ray` starts it as a Ray job; typed on a machine of the cluster it does
the same. SIGTERM: rank 0 saves, 75. Nothing outlives it: Ray ends a job's actors with its driver, the kernel ends what
an actor started.

The rules are ray_supervisor.py, beside it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from ray_supervisor import POLL_S, End, Exits, Lost, Supervisor, describe

EXIT_NO_INPUT, EXIT_UNAVAILABLE, EXIT_CANNOT_CREATE, EXIT_RETRY, EXIT_NOT_ALLOWED, EXIT_CONFIG = 66, 69, 73, 75, 77, 78

# How long the others get to end by themselves after the trainer has.
GRACE_S = 5
# How long after its bound a trainer is killed that did not end by itself.
OWN_WORD_S = 5
REMIND_S = 60
# For `grpoctl launch` to write the job down and let go of the run folder.
SUBMISSION_S = 60
FIRST_SAFE_RAY = (2, 52)


class Refused(Exception):
    """The run cannot be here: (exit code, why)."""


# --- In an actor, on its machine ---

# Between fork and exec of a process with threads no Python may run, so a small Python of its own comes between: what it
# asks the kernel for stays over the exec. Ray blocks SIGINT in its workers.
TRAMPOLINE = """
import ctypes, errno, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit(70)
signal.pthread_sigmask(signal.SIG_SETMASK, [])
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # until there is a handler, which tells what threads wait for
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"cannot start {sys.argv[2]}: {error}", file=sys.stderr)
    sys.exit(66 if error.errno == errno.ENOENT else 77)
"""


class ProcessActor:
    """One process of the run, as a child. Its methods run on the worker's main thread, which lasts as long as it does."""

    def __init__(self, working_dir):
        self._working_dir, self._child, self._endpoint = working_dir, None, None

    def prepare(self):
        """A port of this machine that nobody listens at, and whether Ray asks for tokens here."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return probe.getsockname()[1], os.environ.get("RAY_AUTH_MODE", "disabled")

    def start(self, argv, environment, log, endpoint):
        self.kill()
        # Ray brings the folder to another place here.
        if self._working_dir and argv[0].startswith(self._working_dir + "/"):
            argv = [os.path.join(os.getcwd(), os.path.relpath(argv[0], self._working_dir)), *argv[1:]]
        # The token that opens the cluster is not the run's, which executes what others wrote.
        variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        variables |= dict(variable.split("=", 1) for variable in environment)
        self._endpoint = endpoint
        for path in filter(None, (log, endpoint)):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        if endpoint:
            # What an earlier process wrote would pass for this one's.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(endpoint)
        command = [sys.executable, "-ISc", TRAMPOLINE, str(os.getpid()), *argv]
        with open(log, "ab") as out:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=variables, start_new_session=True
            )
        return None, None

    def look(self):
        code = self._child.poll() if self._child is not None else None
        address = None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            address = json.loads(pathlib.Path(self._endpoint).read_text())["address"]
        return code if code is None or code >= 0 else 128 - code, address

    def signal(self, number):
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def kill(self):
        if self._child is not None and self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        self._child = None


# --- Ray ---


class RaySeat:
    """Where a process runs: an actor, and the newest answer of it."""

    def __init__(self, ray, actor):
        self._ray, self._actor = ray, actor
        self._asked = self._pending = None
        self._seen = (None, None)

    def _answer(self, reference):
        """(whether there is one, what); Lost when the actor is gone."""
        errors = self._ray.exceptions
        if not self._ray.wait([reference], timeout=0)[0]:
            return False, None
        try:
            return True, self._ray.get(reference)
        except errors.ActorUnavailableError:
            # A connection that comes back.
            return True, self._seen
        except errors.RayActorError as error:
            raise Lost(str(error).splitlines()[0]) from None
        except errors.RayTaskError as error:
            raise Refused(EXIT_CANNOT_CREATE, f"an actor cannot start its process: {error.cause}") from None

    def prepare(self):
        self._asked = self._actor.prepare.remote()

    def ready(self):
        there, answer = self._answer(self._asked)
        if not there:
            return None
        port, auth_mode = answer
        if port is None:
            self.prepare()
            return None
        if auth_mode != "token":
            raise Refused(EXIT_NOT_ALLOWED, NO_TOKEN.format("a machine of the cluster", auth_mode))
        return port

    def start(self, *arguments):
        self._seen = (None, None)
        # Answers of the process before are nobody's any more.
        self._pending = self._actor.start.remote(*arguments)

    def look(self):
        there, answer = self._answer(self._pending)
        if there:
            self._seen = answer
            self._pending = self._actor.look.remote()
        return self._seen

    def signal(self, number):
        self._actor.signal.remote(number)

    def kill(self):
        self._actor.kill.remote()

    def close(self):
        self._ray.kill(self._actor)


NO_TOKEN = (
    "{} was started with RAY_AUTH_MODE={}: whoever reaches Ray's ports could run commands there as you. Start every "
    "machine of the cluster, and this, with RAY_AUTH_MODE=token and the same token (RAY_AUTH_TOKEN_PATH)"
)


class RayCluster:
    """The placement group of a run, and the actors in it."""

    def __init__(self, launch, note):
        try:
            import ray
        except ImportError as error:
            raise Refused(EXIT_UNAVAILABLE, f"{sys.executable} has no ray: pip install 'ray[default]>=2.52' ({error})") from None
        if tuple(int(part) for part in ray.__version__.split(".")[:2]) < FIRST_SAFE_RAY:
            why = "before 2.52 Ray has no authentication, so whoever reaches its ports runs commands as you"
            raise Refused(EXIT_CONFIG, f"this is ray {ray.__version__}: {why}; install 2.52 or later")
        mode = os.environ.get("RAY_AUTH_MODE", "disabled")
        if mode != "token":
            raise Refused(EXIT_NOT_ALLOWED, NO_TOKEN.format("this driver", mode))
        self._ray, self._launch, self._note = ray, launch, note
        # As a job Ray has said both.
        address = os.environ.get("RAY_ADDRESS") or launch["address"]
        runtime = {} if in_a_job() or not launch["working_dir"] else {"runtime_env": {"working_dir": launch["working_dir"]}}
        try:
            ray.init(address=address, log_to_driver=False, **runtime)
        except (ConnectionError, RuntimeError) as error:
            raise Refused(EXIT_UNAVAILABLE, f"there is no Ray cluster at {address}: {error}") from None
        except ray.exceptions.RayError as error:
            raise Refused(EXIT_NOT_ALLOWED, f"the Ray cluster at {address} does not let this in: {error}") from None
        bundles = [self._resources(bundle) for bundle in launch["bundles"]]
        self._group = ray.util.placement_group(bundles, strategy=launch["strategy"])
        self._reminded_at = time.monotonic()

    @staticmethod
    def _resources(need):
        wanted = {"CPU": need["cpus"], "GPU": need["gpus"], "memory": need["memory_bytes"]}
        return {name: amount for name, amount in wanted.items() if amount}

    def hosts(self):
        table = self._ray.util.placement_group_table(self._group)
        addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in self._ray.nodes() if node["Alive"]}
        nodes = table["bundles_to_node_id"] if table["state"] == "CREATED" else {}
        stand_ins = [bundle["host"] for bundle in self._launch["bundles"]]
        found = {stand_in: addresses.get(nodes.get(index)) for index, stand_in in enumerate(stand_ins)}
        if all(found.values()):
            return found
        if time.monotonic() - self._reminded_at > REMIND_S:
            self._reminded_at = time.monotonic()
            free = self._ray.available_resources()
            self._note(f"waiting for machines: asked for {self._group.bundle_specs}, free are {free}")
        return None

    def seat(self, process):
        need = self._launch["processes"][process["role"]]
        stand_ins = [bundle["host"] for bundle in self._launch["bundles"]]
        strategy = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
            self._group, placement_group_bundle_index=stand_ins.index(process["host"])
        )
        actor = self._ray.remote(ProcessActor).options(
            num_cpus=need["cpus"],
            num_gpus=need["gpus"],
            memory=need["memory_bytes"] or None,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=strategy,
        )
        return RaySeat(self._ray, actor.remote(self._launch["working_dir"]))

    def close(self):
        self._ray.util.remove_placement_group(self._group)
        self._ray.shutdown()


# --- The driver ---


class Stop:
    """SIGTERM and SIGINT: the first asks for a stop, the second ends everything at once."""

    def __init__(self):
        self.requested = False

    def install(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, number, _):
        if self.requested:
            os._exit(128 + number)
        self.requested = True


def in_a_job():
    """Whether Ray started this, rather than a person."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def wait_for_submission(folder, stop):
    """`grpoctl launch` holds the run folder, which rank 0 is to take, until it has written job.json."""
    job, plan, deadline = folder / "job.json", folder / "plan.json", time.monotonic() + SUBMISSION_S
    while in_a_job() and not stop.requested and time.monotonic() < deadline:
        if job.exists() and job.stat().st_mtime_ns >= plan.stat().st_mtime_ns:
            return
        time.sleep(POLL_S)


def note(message):
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


def supervise(supervisor, stop, launch):
    stopping = False
    while (end := supervisor.poll()) is None:
        if stop.requested and not stopping:
            stopping = True
            note("stopping after the current step, with a checkpoint; once more ends everything at once")
            # A trainer that sees its own bound passed says what it was doing.
            supervisor.stop(launch["stop_within_s"] + OWN_WORD_S)
        time.sleep(POLL_S)
    return end


def execute(folder, max_restarts, stop):
    plan = json.loads((folder / "plan.json").read_text())
    launch = json.loads((folder / "ray.json").read_text())
    wait_for_submission(folder, stop)
    cluster = RayCluster(launch, note)
    # Ray has handlers of its own.
    stop.install()
    note(f"run {plan['run_id']} in {plan['run_dir']}")
    supervisor = Supervisor(plan, Exits(launch["exits"]), cluster, note, max_restarts=max_restarts)
    try:
        return supervise(supervisor, stop, launch)
    finally:
        supervisor.stop_all(GRACE_S)
        for process in plan["processes"]:
            # A trainer that was killed cannot remove it.
            if process["role"] == "trainer" and "endpoint" in process:
                pathlib.Path(process["endpoint"]).unlink(missing_ok=True)
        cluster.close()


def main():
    parser = argparse.ArgumentParser(description="Executes a run's plan on a Ray cluster.")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--max-restarts", type=int, default=10, help="restarts of each role before the run fails")
    arguments = parser.parse_args()
    try:
        end = execute(arguments.folder, arguments.max_restarts, Stop().install())
    except Refused as refused:
        end = End(*refused.args)
    except OSError as error:
        end = End(EXIT_NO_INPUT, f"cannot read what is to be run: {error}")
    if end.message and end.code != EXIT_RETRY:
        note(end.message)
    note(f"the run ended with {describe(end.code)}")
    return end.code


if __name__ == "__main__":
    sys.exit(main())
