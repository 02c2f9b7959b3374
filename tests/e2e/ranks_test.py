"""A trainer of several ranks: who starts them, what they listen on, and what becomes of a run when one hangs."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import unittest

import harness
from harness import trainer_pb2

EARLY = 10


class RanksTest(harness.AgainstUndisturbedRunTest):
    SETTINGS = {"trainer.ranks": 2, "checkpoint.every_steps": 7}

    def test_losses_are_those_of_one_rank(self):
        self.run_to_end(self.run_dir, harness.TINY, self.SETTINGS | {"trainer.ranks": 1})
        one, two = harness.records(self.run_dir), harness.records(self.undisturbed)
        self.assertEqual(len(one), len(two))
        # Rounding differs, and a step with a high rate makes ever more of it.
        for alone, shared in zip(one[:8], two[:8]):
            self.assertEqual(alone["token_ids_hash"], shared["token_ids_hash"])
            self.assertAlmostEqual(float(alone["loss"]), float(shared["loss"]), delta=1e-4)

    def test_a_rank_that_hangs_is_named_and_then_all_start_again(self):
        settings = self.SETTINGS | {"trainer.collective_timeout_s": 15, "trainer.stall_after_s": 1}
        with harness.Run(self.run_dir, harness.TINY, settings) as run:
            run.wait_for_step("tune", EARLY)
            os.kill(run.pid_of("trainer-1"), signal.SIGSTOP)

            def stalled():
                status = run.status()
                return status if status.state == trainer_pb2.RUN_STATE_STALLED else None

            status = harness.wait_until(stalled, "the run is stalled")
            self.assertIn("rank 0 waits for the other ranks", status.state_reason)
            self.assertRegex(status.state_reason, r"rank 1 \S.* \(\S+")
            self.assertEqual([0, 1], [rank.rank for rank in status.ranks])
            harness.wait_until(lambda: "run is STALLED" in run.stderr, "the stall is shown")
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
            self.assertIn("trainer ended with exit code 69", run.stderr)
            log = (self.run_dir / "logs/trainer.log").read_text()
            self.assertIn("THE RUN IS STALLED", log)
            self.assertIn("took longer than 15s (trainer.collective_timeout_s)", log)
        self.assert_undisturbed_results()

    def test_a_rank_of_another_configuration_is_refused_by_both(self):
        config = shutil.copy(self.undisturbed / "config.yaml", self.folder / "config.yaml")
        other = self.folder / "other.yaml"
        other.write_text(pathlib.Path(config).read_text().replace("seed: 7", "seed: 8"))
        port = harness.free_port()
        ranks = [self.start_rank(rank, port, path) for rank, path in enumerate((config, other))]
        for rank in ranks:
            self.assertEqual(harness.EXIT_CONFIG, rank.wait(60))
        for rank in (0, 1):
            self.assertIn("start every rank with the same binary and file", (self.folder / f"rank-{rank}.log").read_text())

    def test_garbage_on_every_port_harms_nobody_and_all_listen_on_loopback(self):
        rng = random.Random(5)
        with harness.Run(self.run_dir, harness.TINY, self.SETTINGS) as run, contextlib.ExitStack() as open_sockets:
            run.wait_for_step("pretrain", EARLY)
            ports = set()
            for child in ("trainer", "trainer-1", "rollout-0", "reward-0"):
                for address, port in harness.listeners_of(run.pid_of(child)):
                    self.assertTrue(address.is_loopback, f"{child} listens on {address}:{port}")
                    ports.add(port)
            # gRPC of trainer and reward server, the store of rank 0, Gloo of each rank.
            self.assertGreaterEqual(len(ports), 5)
            for port in sorted(ports):
                for size in (1, 8, 1000, 100_000):
                    peer = open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), timeout=harness.CALL_S))
                    peer.settimeout(0.2)
                    # Some are closed by the other side, some stay open to the end, as of a request half sent.
                    with contextlib.suppress(OSError):
                        peer.sendall(rng.randbytes(size) if size > 1 else b"\0")
                with contextlib.suppress(OSError):
                    peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
            self.assertNotIn("again", run.stderr)
        self.assert_undisturbed_results()

    # --- Other launchers ---

    def start(self, name, command, environment=None):
        log = (self.folder / f"{name}.log").open("w")
        child = subprocess.Popen(
            [str(word) for word in command], stdout=log, stderr=log, env=os.environ | (environment or {})
        )
        for clean_up in (log.close, child.wait, child.kill):
            self.addCleanup(clean_up)
        return child

    def start_rank(self, rank, master_port, config, *flags):
        command = [harness.TRAINER, "--config", config, "--run-dir", self.run_dir, "--run-id", "by-hand", *flags]
        place = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": master_port}
        return self.start(f"rank-{rank}", command, {name: str(value) for name, value in place.items()})

    def start_worker_and_reward_server(self, config, trainer_port):
        flags = ["--config", config, "--coordinator", f"127.0.0.1:{trainer_port}"]
        reward = self.start("reward", [harness.REWARD_SERVER, *flags])
        worker = self.start("worker", [harness.ROLLOUT_WORKER, *flags])
        return worker, reward

    def test_ranks_started_by_hand(self):
        config, trainer_port = self.undisturbed / "config.yaml", harness.free_port()
        worker, reward = self.start_worker_and_reward_server(config, trainer_port)
        master_port = harness.free_port()
        ranks = [self.start_rank(rank, master_port, config, "--port", trainer_port) for rank in (1, 0)]
        for process in (*ranks, worker, reward):
            self.assertEqual(harness.EXIT_OK, process.wait(90))
        self.assert_undisturbed_results()

    def test_ranks_started_by_torchrun_which_starts_them_again_when_one_dies(self):
        config, trainer_port = self.undisturbed / "config.yaml", harness.free_port()
        worker, _ = self.start_worker_and_reward_server(config, trainer_port)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", 2]
        torchrun += ["--max-restarts", 2, "--monitor-interval", 0.1, "--master-addr", "127.0.0.1"]
        torchrun += ["--master-port", harness.free_port()]
        trainer = [harness.TRAINER, "--config", config, "--run-dir", self.run_dir, "--run-id", "torchrun"]
        launcher = self.start("torchrun", [*torchrun, *trainer, "--port", trainer_port])
        metrics = self.run_dir / "metrics.jsonl"
        harness.wait_until(
            lambda: metrics.exists() and '"tune"' in metrics.read_text(), "the second stage runs", timeout_s=60
        )
        found = harness.grpoctl("status", "--run-dir", self.run_dir)
        self.assertEqual(harness.EXIT_OK, found.returncode, found.stderr)
        victims = [pid for pid, command in harness.processes_of(self.run_dir).items() if command.startswith(str(harness.TRAINER))]
        self.assertEqual(2, len(victims))
        os.kill(max(victims), signal.SIGKILL)
        self.assertEqual(harness.EXIT_OK, launcher.wait(90), (self.folder / "torchrun.log").read_text())
        self.assertIn("resuming from step-", (self.folder / "torchrun.log").read_text())
        self.assertEqual(harness.EXIT_OK, worker.wait(60))
        self.assert_undisturbed_results()


if __name__ == "__main__":
    unittest.main()
