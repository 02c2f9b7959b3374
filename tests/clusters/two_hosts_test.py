"""A run over several machines, each with a part of it: equal to a run on one, whatever becomes of the network between
them; nobody else may call, and whoever listens learns nothing.

    node-a   rank 0, reward-0, rollout-0
    node-b   rank 1, reward-1, rollout-1; sees no run folder
    node-c   rollout-2, whose cable is listened to; sees no run folder either
"""

import contextlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
import unittest

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402
import namespaces  # noqa: E402
from harness import coordinator_pb2, reward_pb2, trainer_pb2  # noqa: E402
from packets import Capture  # noqa: E402
from run_certificates import ROLES, RunCertificates  # noqa: E402
from short_quickstart import SHORT  # noqa: E402

RUN_ID = "two-hosts"
HOSTS = ("node-a", "node-b", "node-c")
TRAINER_PORT, RENDEZVOUS_PORT, REWARD_PORT = 7000, 7001, 7100
LEASE_TTL_S = 3
SETTINGS = SHORT | {
    "trainer.ranks": 2,
    "rollout_worker.workers": 3,
    "reward_server.servers": 2,
    "coordinator.lease_ttl_s": LEASE_TTL_S,
    "coordinator.heartbeat_interval_s": 0.3,
    "checkpoint.every_steps": 20,
}
NETWORK = {"host": "0.0.0.0", "trainer_port": TRAINER_PORT, "rendezvous_port": RENDEZVOUS_PORT, "private_interface": "eth0"}

# Who may call what. A method that is not here may be called by nobody whose certificate names a role.
WORKER_CALLS = ("Register", "LeaseGroups", "SubmitCompletion", "PullWeights", "Heartbeat")
ALLOWED = {f"/grpo.v1.Coordinator/{method}": {"worker"} for method in WORKER_CALLS}
ALLOWED["/grpo.v1.Coordinator/RegisterRewardServer"] = {"reward_server"}
ALLOWED |= {f"/grpo.v1.RewardService/{method}": {"trainer", "worker", "operator"} for method in ("Score", "ListRules")}
VIEWS = ("GetStatus", "WatchStatus", "GetConfig")
ALLOWED |= {f"/grpo.v1.TrainerService/{method}": {"operator", "viewer"} for method in VIEWS}
ALLOWED |= {f"/grpo.v1.TrainerService/{method}": {"operator"} for method in ("Pause", "Resume", "SaveCheckpoint", "Stop")}


def methods_of(*files):
    """(path, descriptor) of every method of every service that these files of proto/ describe."""
    for file in files:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


def with_network(config, values):
    """The text of a resolved configuration with other values in its `network`."""
    head, network, tail = re.fullmatch(r"(?s)(.*^network:\n)((?:  .*\n)*)(.*)", config, re.MULTILINE).groups()
    for key, value in values.items():
        text = value if isinstance(value, int) else json.dumps(str(value))
        network, found = re.subn(rf"(?m)^  {key}: .*$", f"  {key}: {text}", network)
        assert found == 1, f"{key} is not in {network}"
    return head + network + tail


class Cluster:
    """The processes of one run, on their machines. Leaving it kills those that are left."""

    def __init__(self, network, folder, config, certificates):
        self.network, self.folder, self.certificates = network, folder, certificates
        self.run_dir = folder / "run"
        self.run_dir.mkdir()
        self.processes = {}
        self._config = config
        # Where rank 0 is, and how the others are told: HOST:PORT, or the run's folder.
        self.leader = HOSTS[0]
        self.by_folder = False
        self._tls = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def _tls_of(self, host, role):
        """A folder of its own for each role on each machine: nobody needs what others prove themselves by."""
        folder = self.folder / "tls" / f"{host}-{role}"
        return folder if folder.exists() else self.certificates.hand_out(folder, role)

    def start(self, name, host, program, role, *arguments, environment=None):
        config = self.folder / f"{host}.yaml"
        if not config.exists():
            config.write_text(self._config)
        words = [program, "--config", config, "--run-id", RUN_ID, *self.tls_arguments(host, role), *arguments]
        hidden = [] if self.by_folder or host == self.leader else [self.run_dir]
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                self.network[host].command(words, hidden), stdout=log, stderr=log, env=os.environ | (environment or {})
            )

    def tls_arguments(self, host, role):
        return ("--tls-dir", self._tls_of(host, role))

    def start_ranks(self, *flags):
        """Rank 0 on the leader, which comes last: the other waits for it."""
        other = next(host for host in HOSTS if host != self.leader)
        for rank, host in ((1, other), (0, self.leader)):
            place = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": self.leader, "MASTER_PORT": RENDEZVOUS_PORT}
            serves = ("--port", TRAINER_PORT, "--advertise-host", host) if rank == 0 else ()
            environment = {name: str(value) for name, value in place.items()}
            arguments = ("--run-dir", self.run_dir, *serves, *flags)
            self.start(f"trainer-{rank}", host, harness.TRAINER, "trainer", *arguments, environment=environment)

    def start_reward_server(self, number, host):
        serves = ("--port", REWARD_PORT + number, "--advertise-host", host, "--name", f"reward-{number}")
        self.start(f"reward-{number}", host, harness.REWARD_SERVER, "reward_server", "--coordinator", self.coordinator, *serves)

    def start_worker(self, number, host):
        name = f"rollout-{number}"
        self.start(name, host, harness.ROLLOUT_WORKER, "worker", "--coordinator", self.coordinator, "--name", name)

    @property
    def trainer(self):
        return f"{self.leader}:{TRAINER_PORT}"

    @property
    def coordinator(self):
        return self.run_dir if self.by_folder else self.trainer

    def start_all(self):
        """Rank 0 comes last: all others wait for it."""
        for number, host in enumerate(HOSTS):
            self.start_worker(number, host)
        for number, host in enumerate(HOSTS[:2]):
            self.start_reward_server(number, host)
        self.start_ranks()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def channel(self, certificates, name, address=None):
        """As a caller that has these files; None: no certificate."""
        own = {} if name is None else {
            "private_key": certificates.read(f"{name}.key"),
            "certificate_chain": certificates.read(f"{name}.pem"),
        }
        credentials = grpc.ssl_channel_credentials(root_certificates=self.certificates.read("ca.pem"), **own)
        return grpc.secure_channel(address or self.trainer, credentials)

    def status(self):
        with self.channel(self.certificates, "operator") as channel:
            return harness.get_status(channel)

    def wait_for_step(self, stage, step):
        def reached():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended:\n{self.log(name)}"
            with contextlib.suppress(grpc.RpcError):
                return any(row.name == stage and row.step >= step for row in self.status().stages)
            return False

        harness.wait_until(reached, f"{stage} is at step {step}", timeout_s=240)

    def wait_to_end(self, timeout_s=300):
        """Every process ends by itself, and well."""

        def all_ended():
            codes = {name: process.poll() for name, process in self.processes.items()}
            for name, code in codes.items():
                assert code in (None, harness.EXIT_OK), f"{name} ended with {code}:\n{self.log(name)}"
            return None not in codes.values()

        harness.wait_until(all_ended, "every process has ended", timeout_s)


class TwoHostsTest(harness.EndToEndTest):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="hosts.", dir=os.environ.get("TEST_TMPDIR"))))
        cls.alone = cls.scratch / "alone"
        # Weights by gRPC here, too, for the positive control: what is listened to is this machine's loopback.
        with harness.Run(cls.alone, harness.QUICKSTART, SETTINGS | {"coordinator.shared_memory_weights": "false"}) as run:
            run.endpoint()
            capture = Capture("lo")
            code = run.wait(300)
            cls.heard_in_clear = capture.stop()
            if code != harness.EXIT_OK:
                raise AssertionError(run.stderr)
        cls.certificates = RunCertificates(cls.scratch / "tls", RUN_ID, HOSTS)

    def setUp(self):
        super().setUp()
        network = self.enterContext(namespaces.Network(*HOSTS))
        config = with_network((self.alone / "config.yaml").read_text(), NETWORK)
        self.cluster = self.enterContext(Cluster(network, self.folder, config, self.certificates))

    def secrets(self):
        """Bytes that tell a listener something: each prompt, and pieces of the weights that workers were given."""
        prompts = {row["prompt"] for row in harness.completions(self.alone)}
        weights = (self.alone / "models/r1_zero/model.safetensors").read_bytes()
        pieces = random.Random(3)
        places = [pieces.randrange(len(weights) // 2, len(weights) - 64) // 4 * 4 for _ in range(200)]
        return [prompt.encode() for prompt in sorted(prompts)], [weights[place : place + 16] for place in places]

    def assert_equal_to_one_machine(self):
        self.assert_same_results(self.alone, self.cluster.run_dir)

    # --- What a run needs of its network ---

    def test_the_results_are_those_of_one_machine_and_a_listener_learns_nothing(self):
        capture = Capture(self.cluster.network["node-c"].port)
        self.cluster.start_all()
        self.cluster.wait_to_end()
        heard = capture.stop()
        self.assert_equal_to_one_machine()
        self.assertIn("registered as rollout-2", self.cluster.log("rollout-2"))
        self.assertIn("holding version", self.cluster.log("rollout-2"))
        for kind, secrets in zip(("prompts", "weights"), self.secrets()):
            in_clear = sum(secret in self.heard_in_clear for secret in secrets)
            self.assertGreater(in_clear, len(secrets) // 2, f"the search finds {kind} where there is no TLS")
            self.assertEqual([], [secret for secret in secrets if secret in heard], f"{kind} in clear")
        # It was there to be heard.
        self.assertGreater(len(heard), len(self.secrets()[1]) * 1000)

    def test_a_link_that_is_cut_for_three_lease_lifetimes_costs_nothing_but_time(self):
        cut_off = self.cluster.network["node-b"]
        self.cluster.start_all()
        self.cluster.wait_for_step("r1_zero", 2)
        cut_off.cut()
        cut_at = time.monotonic()

        def worker(state):
            rows = [row.state for row in self.cluster.status().workers if row.name == "rollout-1"]
            return rows == [state]

        harness.wait_until(lambda: worker(trainer_pb2.WORKER_STATE_LOST), "the worker is lost")
        harness.wait_until(lambda: time.monotonic() > cut_at + 3 * LEASE_TTL_S, "three lease lifetimes are over")
        self.assertIsNone(self.cluster.processes["trainer-0"].poll())
        cut_off.mend()
        harness.wait_until(lambda: worker(trainer_pb2.WORKER_STATE_ACTIVE), "the worker is back")
        self.cluster.wait_to_end()
        self.assertIn("answers again", self.cluster.log("rollout-1"))
        self.assert_equal_to_one_machine()

    def test_reward_servers_and_workers_come_and_go(self):
        self.cluster.start_worker(0, "node-a")
        self.cluster.start_reward_server(0, "node-a")
        # Long enough for the pauses between two attempts to be as long as they get.
        harness.wait_until(lambda: self.cluster.log("rollout-0"), "the worker says that it waits")
        began = time.monotonic()
        harness.wait_until(lambda: time.monotonic() > began + 10, "it has waited")
        self.cluster.start_ranks()
        self.cluster.wait_for_step("r1_zero", 1)
        self.cluster.start_reward_server(1, "node-b")
        self.cluster.start_worker(1, "node-b")

        def rewards():
            return {row.name for row in self.cluster.status().reward_servers if row.state == trainer_pb2.WORKER_STATE_ACTIVE}

        harness.wait_until(lambda: rewards() == {"reward-0", "reward-1"}, "there are two")
        for name in ("reward-0", "rollout-0"):
            self.cluster.processes[name].terminate()
            self.cluster.processes.pop(name).wait(60)
        harness.wait_until(lambda: rewards() == {"reward-1"}, "the first has left")
        self.cluster.wait_to_end()
        self.assert_equal_to_one_machine()

    def test_a_trainer_that_is_started_on_another_machine_is_followed(self):
        self.cluster.by_folder = True
        self.cluster.start_all()
        self.cluster.wait_for_step("r1_zero", 4)
        for name in ("trainer-0", "trainer-1"):
            self.cluster.processes[name].kill()
            self.cluster.processes[name].wait()
        self.cluster.leader = "node-b"
        self.cluster.start_ranks("--resume")
        self.cluster.wait_to_end()
        self.assertIn("the trainer serves elsewhere now", self.cluster.log("rollout-0"))
        self.assertIn("the trainer serves elsewhere now", self.cluster.log("reward-0"))
        self.assert_equal_to_one_machine()

    # --- Who may call ---

    def call(self, channel, path, method):
        """The code of one call with an empty request, or an empty stream of them."""
        asks, answers = ("stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming))
        stub = getattr(channel, f"{asks}_{answers}")(path, lambda request: request, lambda response: response)
        try:
            answer = stub(b"" if asks == "unary" else iter(()), timeout=10)
            for _ in answer if answers == "stream" else ():
                pass
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def addresses(self):
        trainer = self.cluster.trainer
        servers = [f"{host}:{REWARD_PORT + number}" for number, host in enumerate(HOSTS[:2])]
        return [(trainer, list(methods_of(coordinator_pb2, trainer_pb2)))] + [(server, list(methods_of(reward_pb2))) for server in servers]

    def test_strangers_are_refused_on_every_method_counted_and_shown(self):
        other = RunCertificates(self.folder / "other", "another-run", HOSTS)
        self.certificates.issue("late", "operator", days=-1)
        self.cluster.start_all()
        self.cluster.wait_for_step("pretrain", 1)
        strangers = {
            "no certificate": (self.certificates, None, {"no_certificate"}),
            "another run's": (other, "operator", {"other_run", "untrusted_certificate"}),
            "expired": (self.certificates, "late", {"expired_certificate"}),
        }
        for who, (certificates, name, reasons) in strangers.items():
            before = self.refused(reasons)
            for address, methods in self.addresses():
                for path, method in methods:
                    with self.subTest(who, address=address, method=path), self.cluster.channel(certificates, name, address) as channel:
                        # In the handshake, before anything that the caller sent is read.
                        self.assertEqual(grpc.StatusCode.UNAVAILABLE, self.call(channel, path, method))
            self.assertGreater(self.refused(reasons), before, who)
        self.assert_wrong_roles_are_refused()
        shown = subprocess.run(
            [harness.GRPOCTL, "status", "--address", self.cluster.trainer, *self.operator_flags()],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout
        for reason in ("no_certificate", "expired_certificate", "wrong_role"):
            self.assertRegex(shown.replace(" ", "_"), reason)
        # Nobody was disturbed.
        self.cluster.wait_to_end()
        self.assert_equal_to_one_machine()

    def assert_wrong_roles_are_refused(self):
        before, at_trainer = self.refused({"wrong_role"}), 0
        for address, methods in self.addresses():
            for role in ROLES:
                with self.cluster.channel(self.certificates, role, address) as channel:
                    for path, method in methods:
                        if role in ALLOWED.get(path, ()):
                            continue
                        with self.subTest(role, address=address, method=path):
                            self.assertEqual(grpc.StatusCode.PERMISSION_DENIED, self.call(channel, path, method))
                        at_trainer += address == self.cluster.trainer
        self.assertGreater(at_trainer, 30)
        self.assertEqual(at_trainer, self.refused({"wrong_role"}) - before, "each call is counted")

    def refused(self, reasons):
        counts = self.cluster.status().refused_callers
        return sum(counts[reason] for reason in reasons if reason in counts)

    def operator_flags(self):
        folder = self.certificates.folder
        return ("--tls-ca", folder / "ca.pem", "--tls-cert", folder / "operator.pem", "--tls-key", folder / "operator.key")


if __name__ == "__main__":
    namespaces.isolate()
    unittest.main()
