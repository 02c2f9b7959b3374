"""The rules by which ray_driver.py keeps a run's processes alive: those of tools/grpoctl/local/supervisor.h, for processes elsewhere.

Neither Ray nor processes are in it, and nothing but the standard library.
"""

import contextlib
import pathlib
import random
import signal
import time

EXIT_OK, EXIT_FAILED, EXIT_UNAVAILABLE, EXIT_INTERNAL, EXIT_RETRY = 0, 1, 69, 70, 75
# Of a process whose actor is gone: it was killed, or never ran.
KILLED, NOT_STARTED = 128 + signal.SIGKILL, 255

POLL_S = 0.1
# A process that lived this long starts again without the delay that earlier deaths earned it.
STABLE_S = 60
# After an end that the coordinator asked for: the trainer's follows.
SENT_HOME_S = 5
LOG_LINES, LOG_LINE_CHARS = 12, 300


class Lost(Exception):
    """The actor of a process is gone, with the process."""


class End:
    """Why a run is over; `message` is empty when there is nothing to tell."""

    def __init__(self, code, message=""):
        self.code, self.message = code, message


class Exits:
    """What exit codes mean: ray.json's {"alone": {"permanent": "64-66,77-78", ...}, "with_peers": {...}}."""

    def __init__(self, tables):
        self._names = {key: dict(self._codes(table)) for key, table in tables.items()}

    @staticmethod
    def _codes(table):
        for name, ranges in table.items():
            for part in ranges.split(","):
                first, _, last = part.partition("-")
                yield from ((code, name) for code in range(int(first), int(last or first) + 1))

    def name(self, code, has_peers):
        return self._names["with_peers" if has_peers else "alone"][code]


def fill(words, late):
    """Words with what is known late: {"<port>": 7000} for a word's end."""
    return [next((word[: -len(end)] + str(value) for end, value in late.items() if word.endswith(end)), word) for word in words]


def last_lines(path):
    """The end of a log, where this machine sees it."""
    with contextlib.suppress(OSError):
        lines = pathlib.Path(path).read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "".join("\n  | " + "".join(c if c.isprintable() else "?" for c in line[:LOG_LINE_CHARS]) for line in lines)
    return ""


def describe(code):
    return f"exit code {code}" if not 128 < code <= 128 + 64 else f"signal {code - 128} ({signal.strsignal(code - 128)})"


# Where a child is in its life: between starts, its actor called upon, started, and gone for good.
WAITING, PREPARING, RUNNING, DONE = "waiting", "preparing", "running", "done"


class Child:
    """A process of the plan, and what is known of it."""

    def __init__(self, plan):
        self.plan, self.name, self.role = plan, plan["name"], plan["role"]
        self.seat, self.state, self.attempt = None, WAITING, 0
        # Where its machine is, where it serves or served last, and the trainer's address that it was told.
        self.host = self.address = self.told = ""
        self.serves = False
        self.free_port = None
        self.started_at = self.restart_at = 0.0
        self.deaths = 0

    def backoff(self):
        """Seconds until its next start, as common/rpc/client.h."""
        full = min(0.1 * 2.0 ** min(self.deaths, 30), 5.0)
        self.deaths += 1
        return full * random.uniform(0.5, 1.0)


class Supervisor:
    """Starts what the plan says, restarts what may die alone, all ranks together, and says when the run is over.

    `cluster.hosts()` is {stand-in: address}, None while machines are being found; `cluster.seat(process)` makes a seat:

        prepare()   asks its actor for a free port      ready()   that port; None until it is known
        start(argv, environment, log, endpoint)         look()    (exit code, address where it serves), each or None
        signal(number), kill(), close()                 Lost, from ready and look: its actor is gone

    None of them waits.
    """

    def __init__(self, plan, exits, cluster, note, now=time.monotonic, max_restarts=10):
        self._rules, self._exits, self._cluster, self._note, self._now = plan["when_one_ends"], exits, cluster, note, now
        self._max_restarts, self._restarts = max_restarts, {}
        self.children = [Child(process) for process in plan["processes"]]
        self._ranks = [child for child in self.children if child.role == "trainer"]
        self._trainer = self._ranks[0]
        self._stop_until, self._stop_bound = None, 0

    def poll(self):
        """Does what is due; an End once the run is over. To be called a few times a second."""
        end = self._end_of_stop()
        for child in self.children:
            end = end or self._poll_child(child)
        return end

    def stop(self, bound_s):
        """Nothing is restarted any more, and rank 0 is to save within so many seconds: 75 then, or its own last word."""
        self._stop_bound, self._stop_until = bound_s, self._now() + bound_s
        if self._trainer.state == RUNNING:
            self._trainer.seat.signal(signal.SIGTERM)

    def stop_all(self, grace_s, sleep=time.sleep):
        """SIGTERM to what is left, SIGKILL after the grace. Returns when all are gone or their actors are ended."""
        left = [child for child in self.children if child.state == RUNNING]
        deadline = self._now() + grace_s
        for child in left:
            child.seat.signal(signal.SIGTERM)
        while left and self._now() < deadline:
            left = [child for child in left if not self._is_gone(child)]
            sleep(POLL_S)
        for child in self.children:
            if child.seat is not None:
                child.seat.kill()
                child.seat.close()

    @staticmethod
    def _is_gone(child):
        try:
            return child.seat.look()[0] is not None
        except Lost:
            return True

    def _is_rank(self, child):
        return child in self._ranks

    def _has_peers(self, child):
        return self._is_rank(child) and len(self._ranks) > 1

    def _reaction(self, phase, exit_name, child):
        role = "trainer-N" if self._is_rank(child) and child is not self._trainer else child.role
        return self._rules[phase][exit_name][role]

    def _phase(self, child):
        if self._stop_until is not None:
            return "ending"
        never_served = child.attempt == 1 and "endpoint" in child.plan and not child.serves
        return "starting" if never_served else "running"

    def _poll_child(self, child):
        try:
            if child.state == WAITING:
                self._prepare(child)
            elif child.state == PREPARING:
                self._start(child)
            elif child.state == RUNNING:
                code, address = child.seat.look()
                if address and not child.serves:
                    self._notice(child, address)
                return None if code is None else self._on_exit(child, code)
        except Lost as lost:
            self._note(f"the actor of {child.name} is gone: {lost}")
            child.seat.close()
            child.seat = None
            return self._on_exit(child, KILLED if child.state == RUNNING else NOT_STARTED)
        return None

    def _may_start(self, child):
        if self._stop_until is not None or self._now() < child.restart_at:
            return False
        serving = {other.name for other in self.children if other.serves}
        return child.attempt > 0 or serving.issuperset(child.plan["after"])

    def _prepare(self, child):
        hosts = self._cluster.hosts() if self._may_start(child) else None
        if hosts is None:
            return
        if child.attempt > 0:
            self._note(f"starting {child.name} again (restart {self._restarts.get(child.role, 0)} of {self._max_restarts})")
        host = hosts[child.plan["host"]]
        if host != child.host:
            # Its port may be another's on the new machine.
            child.host, child.address = host, ""
        child.attempt += 1
        child.serves, child.free_port = False, None
        child.seat = child.seat or self._cluster.seat(child.plan)
        child.seat.prepare()
        child.state = PREPARING

    def _start(self, child):
        child.free_port = child.free_port or child.seat.ready()
        leader = self._trainer if self._is_rank(child) else child
        if child.free_port is None or leader.free_port is None or leader.attempt != child.attempt:
            return
        hosts = self._cluster.hosts()
        if hosts is None:
            return
        child.told = self._trainer.address
        late = hosts | {
            "<attempt>": child.attempt,
            "<restarts>": child.attempt - 1,
            # It comes back where others look for it.
            "<port>": child.address.rpartition(":")[2] or child.plan.get("port", 0),
            "<trainer address>": child.told,
            # Where the ranks of this start meet, found on rank 0's machine.
            "<rendezvous port>": leader.free_port,
            # Rank 0 takes the run folder's lock itself.
            "<lock fd>": -1,
        }
        environment = fill(child.plan.get("environment", []), late)
        child.seat.start(fill(child.plan["argv"], late), environment, child.plan["log"], child.plan.get("endpoint"))
        child.started_at, child.state = self._now(), RUNNING

    def _notice(self, child, address):
        child.address, child.serves = address, True
        if child is not self._trainer:
            return
        # A trainer whose machine was lost comes back on another, and whoever was told the old address looks there in vain.
        for member in self.children:
            if member.state == RUNNING and not self._is_rank(member) and member.told and member.told != address:
                self._note(f"{member.name} starts again: the trainer is now at {address}")
                self._restart_later(member, 0)

    def _on_exit(self, child, code):
        exit_name = self._exits.name(code, self._has_peers(child))
        reaction = self._reaction(self._phase(child), exit_name, child)
        ended = f"{child.name} ended with {describe(code)}"
        child.serves = False
        child.state = DONE if reaction == "nothing" else WAITING
        if reaction == "nothing":
            return None
        if reaction == "end_run":
            return self._end_run(child, code, exit_name, ended)
        self._restarts[child.role] = self._restarts.get(child.role, 0) + 1
        if self._restarts[child.role] > self._max_restarts:
            why = f"{ended}, and the {self._max_restarts} restarts of role {child.role} are used up"
            return self._end(child, EXIT_FAILED, why)
        if self._now() - child.started_at >= STABLE_S:
            child.deaths = 0
        delay = child.backoff()
        if exit_name == "success":
            # It was sent home, or it is needed again.
            delay = max(delay, SENT_HOME_S)
        else:
            self._note(f"{ended}; starts again in {delay:.1f} s")
        if reaction == "restart_all_ranks":
            return self._restart_all_ranks(delay)
        self._restart_later(child, delay)
        return None

    def _end_run(self, child, code, exit_name, ended):
        if self._stop_until is not None and exit_name in ("killed", "peer_lost", "not_started"):
            self._note(f"{ended} instead of saving; the checkpoint before stands")
            return End(EXIT_RETRY)
        if exit_name != "success":
            return self._end(child, code if code != NOT_STARTED else EXIT_UNAVAILABLE, ended)
        return End(EXIT_OK) if child is self._trainer else self._end(child, EXIT_INTERNAL, ended)

    def _end(self, child, code, message):
        lines = last_lines(child.plan["log"])
        return End(code, message + (f"; the last lines of {child.plan['log']}:{lines}" if lines else ""))

    def _restart_later(self, child, delay):
        if child.seat is not None:
            child.seat.kill()
        child.serves, child.state, child.restart_at = False, WAITING, self._now() + delay

    def _restart_all_ranks(self, delay):
        for rank in self._ranks:
            with contextlib.suppress(Lost):
                code = rank.seat.look()[0] if rank.state == RUNNING else None
                exit_name = "success" if code is None else self._exits.name(code, True)
                # Why the others are gone, if it was this one's own doing.
                if exit_name != "success" and self._reaction("running", exit_name, rank) == "end_run":
                    return self._end(rank, code, f"{rank.name} ended with {describe(code)}")
            self._restart_later(rank, delay)
        return None

    def _end_of_stop(self):
        if self._stop_until is None:
            return None
        if self._trainer.state != RUNNING:
            self._note("stopped while the trainer was not there; its last checkpoint stands")
            return End(EXIT_RETRY)
        if self._now() < self._stop_until:
            return None
        self._note(f"the trainer did not end within {self._stop_bound:.0f} s of the stop; its last checkpoint stands")
        return End(EXIT_RETRY)
