"""Processes of a run that die, hang or are not there: it waits, says for what, and loses nothing."""

import os
import signal
import unittest

import grpc

import harness
from harness import trainer_pb2

EARLY = 10


class FailuresTest(harness.AgainstUndisturbedRunTest):

    def assert_paused_by(self, cause, get_status):
        """Waits until the run is paused, and returns its status, which names the cause."""

        def paused():
            status = get_status()
            return status if status.state == trainer_pb2.RUN_STATE_PAUSED else None

        status = harness.wait_until(paused, "the run is paused")
        self.assertIn(cause, status.state_reason)
        self.assertEqual(trainer_pb2.WORKER_STATE_BLOCKED, status.workers[0].state)
        return status

    def test_a_reward_server_that_is_killed_comes_back_where_it_was(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            address = run.reward_address()
            os.kill(run.pid_of("reward-0"), signal.SIGKILL)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
            self.assertIn("reward-0 ended with signal 9", run.stderr)
            self.assertEqual(2, (self.run_dir / "logs/reward-0.log").read_text().count(f"scoring on {address}"))
        self.assert_undisturbed_results()

    def test_a_reward_server_that_hangs_pauses_the_run_until_it_answers(self):
        with harness.Run(self.run_dir, harness.TINY, {"rollout_worker.score_deadline_s": 0.5}) as run:
            run.wait_for_step("tune", EARLY)
            address, pid = run.reward_address(), run.pid_of("reward-0")
            os.kill(pid, signal.SIGSTOP)
            try:
                self.assert_paused_by(f"reward server {address}", run.status)
                harness.wait_until(lambda: f"reward server {address}" in run.stderr, "the pause is shown")
            finally:
                os.kill(pid, signal.SIGCONT)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_undisturbed_results()

    def test_a_worker_that_is_killed_is_replaced(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            os.kill(run.pid_of("rollout-0"), signal.SIGKILL)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
            self.assertIn("rollout-0 ended with signal 9", run.stderr)
        self.assert_undisturbed_results()

    def test_a_worker_that_hangs_loses_its_leases_to_another(self):
        with harness.Run(self.run_dir, harness.TINY, {"rollout_worker.workers": 2}) as run:
            run.wait_for_step("tune", EARLY)
            pid = run.pid_of("rollout-0")
            os.kill(pid, signal.SIGSTOP)
            try:
                run.wait_for_step("tune", EARLY + 20)
            finally:
                os.kill(pid, signal.SIGCONT)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_undisturbed_results()

    def test_a_result_that_comes_after_its_lease_ran_out_is_refused_and_counted(self):
        # Hangs with a finished group in its hands.
        failpoints = "rollout.submit(tune/)=stop@5"
        settings = {"rollout_worker.workers": 2}
        with harness.Run(self.run_dir, harness.TINY, settings, failpoints=failpoints) as run:
            mark = harness.wait_until(lambda: run.fired().get("rollout.submit.0"), "a worker hangs")
            self.assertIn("attempt 1", mark["detail"])
            step = next(stage for stage in run.status().stages if stage.name == "tune").step
            # The step needs the group, so this is when another worker has made it.
            status = run.wait_for_step("tune", step + 1)
            self.assertGreaterEqual(status.leases.num_expired_total, 1)
            self.assertEqual(0, status.leases.num_refused_total)
            # Or the run could be over before the woken worker has its connection back.
            run.client().Pause(trainer_pb2.PauseRequest(), timeout=harness.CALL_S)
            os.kill(int(mark["pid"]), signal.SIGCONT)
            group = mark["detail"].partition(" ")[0].partition("/")[2]
            refused = f'attempt 1 at group {group} of stage "tune" ran out and attempt 2 was leased since'
            # On a slow machine the sleeper's connection times out first; then its next heartbeat tells it, and it drops the result itself.
            dropped = f"lease {mark['detail']} is no longer this worker's"
            logs = self.run_dir / "logs"

            def settled():
                if refused in (logs / "trainer.log").read_text():
                    self.assertGreaterEqual(run.status().leases.num_refused_total, 1)
                    return True
                return any(dropped in log.read_text() for log in logs.glob("rollout-*.log"))

            harness.wait_until(settled, "the late result is refused")
            run.client().Resume(trainer_pb2.ResumeRequest(), timeout=harness.CALL_S)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_undisturbed_results()

    def assert_trainer_by_hand_is_refused(self, *arguments, says):
        """In the folder of another run; it says all of this."""
        trainer = self.start(harness.TRAINER, "--run-dir", self.run_dir, "--run-id", "other", *arguments)
        self.assertEqual(harness.EXIT_CANNOT_CREATE, trainer.wait(60))
        log = self.folder / "trainer.log"
        for text in says:
            self.assertIn(text, log.read_text())
        log.unlink()

    def test_a_trainer_started_by_hand_in_the_folder_of_a_run_is_refused_and_harms_nothing(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            run.client().Pause(trainer_pb2.PauseRequest(), timeout=harness.CALL_S)
            says = ["a run is going on", f"pid {run.pid} on host", f"run {run.status().run_id})", "--run-dir DIR"]
            for arguments in ((), ("--resume",)):
                self.assert_trainer_by_hand_is_refused(*arguments, says=says)
            # Each rank 0 after a death, too, has what grpoctl holds.
            os.kill(run.pid_of("trainer"), signal.SIGKILL)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_undisturbed_results()
        self.assert_trainer_by_hand_is_refused(says=["holds a run already", "go on with it with --resume"])
        self.assert_undisturbed_results()

    def test_records_deleted_under_a_live_run_are_an_alarm_and_begun_anew(self):
        metrics, completions = self.run_dir / "metrics.jsonl", self.run_dir / "completions.sqlite"

        def wait_for_alarm(run, *texts):
            harness.wait_until(lambda: all(text in run.stderr for text in texts), f"the terminal says {texts}")

        with harness.Run(self.run_dir, harness.TINY, {"stages.tune.steps": 100_000}) as run:
            run.wait_for_step("tune", EARLY)
            metrics.unlink()
            completions.unlink()
            wait_for_alarm(run, f"{metrics} was deleted", f"{completions} was deleted", "begun anew")
            self.assertIn(str(metrics), run.status().state_reason)
            self.run_dir.rename(self.folder / "aside")
            wait_for_alarm(run, f"{self.run_dir} or the lock in it was deleted or moved away")
            # The trainer is found in the new folder, and the lock there is its own.
            again = harness.grpoctl("run", harness.TINY, "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_CANNOT_CREATE, again.returncode, again.stderr)
            self.assertIn("a run is going on", again.stderr)
            step = next(stage.step for stage in run.status().stages if stage.name == "tune")
            run.wait_for_step("tune", step + 2)
            stopped = harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, stopped.returncode, stopped.stderr)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        first = harness.json_lines(metrics)[0]
        self.assertGreater(int(first["step"]), EARLY)
        self.assertIn("what came before this line is lost", first["note"])
        self.assertTrue(harness.completions(self.run_dir))
        metrics.unlink()
        with harness.Run(self.run_dir, resume=True) as run:
            wait_for_alarm(run, f"{metrics} was missing when the run went on")
            run.client().Stop(trainer_pb2.StopRequest(), timeout=harness.CALL_S)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)

    def test_processes_started_by_hand_wait_for_a_reward_server_that_comes_late(self):
        trainer = self.start(harness.TRAINER, "--run-dir", self.run_dir, "--run-id", "by-hand")
        coordinator = harness.address_in(self.run_dir / "endpoint.json")
        worker = self.start(harness.ROLLOUT_WORKER, "--coordinator", coordinator)
        with grpc.insecure_channel(coordinator) as channel:
            status = self.assert_paused_by("no reward server is registered yet", lambda: harness.get_status(channel))
            self.assertEqual(0, status.stages[1].step)
            self.assertEqual(0, status.leases.num_quarantined_total)
        reward = self.start(harness.REWARD_SERVER, "--coordinator", coordinator)
        for process in (trainer, worker, reward):
            self.assertEqual(harness.EXIT_OK, process.wait(60))
        self.assertFalse((self.run_dir / "endpoint.json").exists())
        self.assert_undisturbed_results()


if __name__ == "__main__":
    unittest.main()
