"""The driver's rules with actors that are fakes and a clock that stands still. The standard library is enough."""

import json
import pathlib
import signal
import sys
import unittest

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER))
import ray_supervisor as rules  # noqa: E402

# ClassifyExit's, as ray.json has it.
ALONE = {"success": "0", "permanent": "64-66,77-78", "error": "1-63,67-76,79-128", "killed": "129-192", "not_started": "193-255"}
EXITS = {"alone": ALONE, "with_peers": ALONE | {"error": "1-63,67-68,70-76,79-128", "peer_lost": "69"}}
# PlanJson's, golden, with what it says of processes that never ran.
RULES = json.loads((FOLDER.parent / "testdata/quickstart.json").read_text())["when_one_ends"]
for phase in RULES.values():
    phase.setdefault("not_started", phase["peer_lost"] | {"reward_server": phase["killed"]["reward_server"]})


def process(name, role, serves, after=()):
    words = ["/bin/" + role, "--attempt", "<attempt>", "--port", "<port>", "--coordinator", "<trainer address>"]
    plan = {"name": name, "role": role, "host": f"<host {role}.0>", "argv": words, "log": f"/nowhere/{name}.log"}
    if role == "trainer":
        plan["environment"] = ["MASTER_PORT=<rendezvous port>", "RESTARTS=<restarts>", "MASTER_ADDR=<host trainer.0>"]
    if serves:
        plan |= {"endpoint": f"/nowhere/{name}.json", "port": 0}
    return plan | {"after": list(after)}


PLAN = {
    "processes": [
        process("trainer", "trainer", serves=True),
        process("trainer-1", "trainer", serves=False),
        process("reward-0", "reward_server", serves=True, after=["trainer"]),
        process("rollout-0", "rollout_worker", serves=False, after=["trainer"]),
    ],
    "when_one_ends": RULES,
}


class FakeSeat:
    """An actor whose process does what the test says."""

    def __init__(self, ports):
        self._ports = ports
        self.code = self.address = self.started = None
        self.gone = self.closed = False
        self.signals, self.killed = [], 0

    def prepare(self):
        self._port = next(self._ports)

    def ready(self):
        self._live()
        return self._port

    def start(self, argv, environment, log, endpoint):
        self.code = self.address = None
        self.started = (argv, environment)

    def look(self):
        self._live()
        return self.code, self.address

    def signal(self, number):
        self.signals.append(number)

    def kill(self):
        self.killed += 1

    def close(self):
        self.closed = True

    def _live(self):
        if self.gone:
            raise rules.Lost("its node is gone")


class FakeCluster:
    def __init__(self):
        self.addresses = {f"<host {role}.0>": "10.0.0.1" for role in ("trainer", "reward_server", "rollout_worker")}
        self.seats = {}
        self._ports = iter(range(5001, 9999))

    def hosts(self):
        return self.addresses

    def seat(self, plan):
        self.seats[plan["name"]] = FakeSeat(self._ports)
        return self.seats[plan["name"]]


class SupervisorTest(unittest.TestCase):
    def setUp(self):
        self.now, self.notes, self.cluster = 100.0, [], FakeCluster()
        self.supervisor = self.make()

    def make(self, max_restarts=10):
        exits = rules.Exits(EXITS)
        return rules.Supervisor(PLAN, exits, self.cluster, self.notes.append, lambda: self.now, max_restarts)

    def seat(self, name):
        return self.cluster.seats[name]

    def turn(self):
        """What four polls come to, with more than the longest delay between starts before each."""
        for _ in range(4):
            self.now += 6
            end = self.supervisor.poll()
            if end is not None:
                return end
        return None

    def run_all(self):
        """Everything runs, the trainer at 10.0.0.1:7000 and the reward server at :7100."""
        self.assertIsNone(self.turn())
        self.seat("trainer").address = "10.0.0.1:7000"
        self.assertIsNone(self.turn())
        self.seat("reward-0").address = "10.0.0.1:7100"
        self.assertIsNone(self.turn())

    def attempt(self, name):
        return self.seat(name).started[0][2]

    def test_members_start_once_the_trainer_serves_and_are_told_where(self):
        self.assertIsNone(self.turn())
        self.assertEqual({"trainer", "trainer-1"}, set(self.cluster.seats))
        self.run_all()
        self.assertEqual("10.0.0.1:7000", self.seat("rollout-0").started[0][-1])
        self.assertEqual("10.0.0.1:7000", self.seat("reward-0").started[0][-1])

    def test_ranks_meet_at_a_port_that_rank_0s_actor_found(self):
        self.run_all()
        for name in ("trainer", "trainer-1"):
            environment = self.seat(name).started[1]
            self.assertEqual(["MASTER_PORT=5001", "RESTARTS=0", "MASTER_ADDR=10.0.0.1"], environment)

    def test_a_worker_that_dies_starts_again_alone_with_the_next_attempt(self):
        self.run_all()
        worker = self.seat("rollout-0")
        for code in (137, 1, 0):
            worker.code = code
            self.assertIsNone(self.turn())
        self.assertEqual("4", self.attempt("rollout-0"))
        self.assertEqual("1", self.attempt("trainer"))
        self.assertIs(worker, self.seat("rollout-0"), "the actor lives and is used again")

    def test_a_worker_whose_actor_died_gets_another(self):
        self.run_all()
        worker = self.seat("rollout-0")
        worker.gone = True
        self.assertIsNone(self.turn())
        self.assertTrue(worker.closed)
        self.assertIsNot(worker, self.seat("rollout-0"))
        self.assertEqual("2", self.attempt("rollout-0"))

    def test_a_reward_server_comes_back_at_its_port(self):
        self.run_all()
        self.seat("reward-0").code = 137
        self.assertIsNone(self.turn())
        self.assertEqual("7100", self.seat("reward-0").started[0][4])

    def test_a_rank_that_is_killed_takes_all_ranks_along_which_meet_at_a_new_port(self):
        self.run_all()
        self.seat("trainer-1").code = 137
        self.assertIsNone(self.turn())
        self.assertEqual(1, self.seat("trainer").killed)
        ports = {self.seat(name).started[1][0] for name in ("trainer", "trainer-1")}
        self.assertEqual(1, len(ports))
        self.assertNotIn("MASTER_PORT=5001", ports)
        for name in ("trainer", "trainer-1"):
            self.assertEqual("2", self.attempt(name))
            self.assertEqual("RESTARTS=1", self.seat(name).started[1][1])
        self.assertEqual("7000", self.seat("trainer").started[0][4], "where its members look for it")
        self.assertEqual("1", self.attempt("rollout-0"))

    def test_the_death_of_rank_0s_actor_is_one_too(self):
        self.run_all()
        self.seat("trainer").gone = True
        self.assertIsNone(self.turn())
        self.assertEqual(("2", "2"), (self.attempt("trainer"), self.attempt("trainer-1")))

    def test_a_trainer_on_another_machine_is_told_to_all(self):
        self.run_all()
        self.seat("trainer").gone = True
        self.cluster.addresses = self.cluster.addresses | {"<host trainer.0>": "10.0.0.2"}
        self.assertIsNone(self.turn())
        self.assertEqual("0", self.seat("trainer").started[0][4], "its port may be another's there")
        self.seat("trainer").address = "10.0.0.2:7003"
        self.assertIsNone(self.turn())
        self.assertEqual("10.0.0.2:7003", self.seat("rollout-0").started[0][-1])
        self.assertEqual("10.0.0.2:7003", self.seat("reward-0").started[0][-1])

    def test_while_there_are_no_machines_nothing_starts(self):
        addresses, self.cluster.addresses = self.cluster.addresses, None
        self.assertIsNone(self.turn())
        self.assertEqual({}, self.cluster.seats)
        self.cluster.addresses = addresses
        self.run_all()

    def test_the_trainers_end_is_the_runs(self):
        for code in (0, 65, 78):
            self.cluster, self.now = FakeCluster(), self.now + 1
            self.supervisor = self.make()
            self.run_all()
            self.seat("trainer").code = code
            end = self.turn()
            self.assertEqual(code, end.code)
            self.assertEqual(code == 0, not end.message)

    def test_a_rank_that_ended_by_its_own_doing_ends_the_run_with_its_code_whoever_is_seen_first(self):
        self.run_all()
        self.seat("trainer").code, self.seat("trainer-1").code = 69, 65
        end = self.turn()
        self.assertEqual(65, end.code)
        self.assertIn("trainer-1 ended with exit code 65", end.message)

    def test_a_server_that_never_served_ends_the_run(self):
        self.assertIsNone(self.turn())
        self.seat("trainer").address = "10.0.0.1:7000"
        self.assertIsNone(self.turn())
        self.seat("reward-0").code = 1
        end = self.turn()
        self.assertEqual(1, end.code)
        self.assertIn("reward-0", end.message)

    def test_a_budget_that_is_used_up_ends_the_run(self):
        self.supervisor = self.make(max_restarts=2)
        self.run_all()
        for _ in range(2):
            self.seat("rollout-0").code = 137
            self.assertIsNone(self.turn())
        self.seat("rollout-0").code = 137
        end = self.turn()
        self.assertEqual(rules.EXIT_FAILED, end.code)
        self.assertIn("the 2 restarts of role rollout_worker are used up", end.message)

    def test_ranks_that_start_together_count_once(self):
        self.supervisor = self.make(max_restarts=1)
        self.run_all()
        self.seat("trainer-1").code = self.seat("trainer").code = 137
        self.assertIsNone(self.turn())
        self.assertEqual("2", self.attempt("trainer"))

    def test_a_stop_lets_rank_0_save_and_is_its_word(self):
        self.run_all()
        self.supervisor.stop(60)
        self.assertEqual([signal.SIGTERM], self.seat("trainer").signals)
        self.assertEqual([], self.seat("rollout-0").signals)
        self.seat("rollout-0").code = 0
        self.assertIsNone(self.turn())
        self.assertEqual("1", self.attempt("rollout-0"), "nothing is restarted any more")
        self.seat("trainer").code = 75
        self.assertEqual(rules.EXIT_RETRY, self.turn().code)

    def test_a_stop_that_takes_too_long_or_meets_a_death_leaves_the_checkpoint_before(self):
        for what in ("too long", "death", "lost"):
            self.cluster = FakeCluster()
            self.supervisor = self.make()
            self.run_all()
            self.supervisor.stop(60)
            if what == "too long":
                self.now += 60
            self.seat("trainer").code = 137 if what == "death" else None
            self.seat("trainer").gone = what == "lost"
            self.assertEqual(rules.EXIT_RETRY, self.turn().code, what)

    def test_a_stop_before_anything_runs(self):
        self.cluster.addresses = None
        self.assertIsNone(self.turn())
        self.supervisor.stop(60)
        self.assertEqual(rules.EXIT_RETRY, self.turn().code)

    def test_the_end_ends_all_of_it(self):
        self.run_all()
        self.seat("rollout-0").code = 0

        def sleep(seconds):
            self.now += seconds

        self.supervisor.stop_all(5, sleep)
        for name, seat in self.cluster.seats.items():
            self.assertEqual([signal.SIGTERM], seat.signals, name)
            self.assertTrue(seat.killed and seat.closed, name)


class TextTest(unittest.TestCase):
    def test_words_end_in_what_is_known_late(self):
        late = {"<port>": 7000, "<host trainer.0>": "10.0.0.1"}
        self.assertEqual(["--port=7000", "A=10.0.0.1", "<port>s"], rules.fill(["--port=<port>", "A=<host trainer.0>", "<port>s"], late))

    def test_every_exit_code_has_a_name(self):
        exits = rules.Exits(EXITS)
        for code in range(256):
            self.assertTrue(exits.name(code, False) and exits.name(code, True))
        self.assertEqual(("error", "peer_lost"), (exits.name(69, False), exits.name(69, True)))

    def test_exits_are_told_in_words(self):
        self.assertEqual(["exit code 78", "signal 9 (Killed)", "exit code 255"], [rules.describe(code) for code in (78, 137, 255)])


if __name__ == "__main__":
    unittest.main()
