"""What a run on a real Slurm cluster lives through: signals, requeues, machines and processes that die. Each time it goes
on and ends equal to a run on one machine that nobody disturbed."""

import os
import signal
import unittest

from slurm_launch import Job, SlurmTest, harness, run_grpoctl
from short_quickstart import SHORT  # from tests/e2e, as slurm_launch's imports

# Often enough that what is lost is little, and a requeue is not from the very start.
SAVING = {"checkpoint.every_steps": 5}


class SlurmFaultsTest(SlurmTest):
    CONFIG = harness.QUICKSTART
    SETTINGS = SHORT | SAVING | {"stages.r1_zero.steps": 30, "coordinator.heartbeat_interval_s": 0.5, "coordinator.lease_ttl_s": 3}

    def setUp(self):
        super().setUp()
        self.run_dir = self.folder / "run"

    def reach_mid_stage(self):
        job = self.launched(self.run_dir)
        job.wait_for_step("r1_zero", 3)
        return job

    def finish_and_compare(self, job, restarts):
        job.wait_to_end()
        self.assertEqual(restarts, self.cluster.restarts(job.number), job.log())
        self.assert_same_results(self.local, self.run_dir)

    def test_a_signal_to_the_batch_script_saves_and_queues_it_again(self):
        job = self.reach_mid_stage()
        self.cluster.call("scancel", "--signal=TERM", "--batch", job.number)
        self.cluster.wait_until(lambda: self.cluster.restarts(job.number) == 1, "the job is queued again")
        self.assertIn("stopping after the current step, with a checkpoint", job.log())
        self.finish_and_compare(job, restarts=1)
        self.assertIn("resuming from step-", (self.run_dir / "logs/trainer.log").read_text())

    def test_a_requeue_in_mid_stage(self):
        job = self.reach_mid_stage()
        self.cluster.call("scontrol", "requeue", job.number)
        self.finish_and_compare(job, restarts=1)

    def test_a_killed_rank_restarts_all_ranks_within_the_job(self):
        job = self.reach_mid_stage()
        os.kill(job.pid_of("trainer-1"), signal.SIGKILL)
        self.finish_and_compare(job, restarts=0)
        self.assertIn("starting trainer-1 again", job.log())

    def test_a_killed_worker_and_a_killed_reward_server_come_back(self):
        job = self.reach_mid_stage()
        for name in ("rollout-0", "reward-0"):
            os.kill(job.pid_of(name), signal.SIGKILL)
        self.finish_and_compare(job, restarts=0)
        self.assertIn("starting rollout-0 again", job.log())

    def test_a_lost_machine_of_workers_costs_its_leases_and_no_more(self):
        # Rank 1 is elsewhere, so that the third machine has a worker and a reward server alone.
        job = self.reach_mid_stage()
        self.cluster.kill_node("n3")
        try:
            self.finish_and_compare(job, restarts=0)
            self.assertNotIn("starting trainer", job.log())
        finally:
            self.revive("n3")

    def test_a_lost_machine_of_a_rank_is_replaced_by_another_start(self):
        job = self.reach_mid_stage()
        self.cluster.kill_node("n2")
        self.cluster.wait_until(
            lambda: "could not be started on n2" in job.log(), "a start has failed", timeout_s=120
        )
        self.revive("n2")
        job.wait_to_end()
        self.assert_same_results(self.local, self.run_dir)

    def test_the_first_machine_is_lost(self):
        job = self.reach_mid_stage()
        self.cluster.kill_node("n1")
        self.revive("n1")
        self.finish_and_compare(job, restarts=1)

    def test_a_stop_ends_it_for_good_and_a_launch_goes_on(self):
        job = self.reach_mid_stage()
        self.assertEqual(harness.EXIT_OK, job.grpoctl("stop").returncode)
        job.wait_to_end()
        resumed = self.launch_again()
        self.finish_and_compare(resumed, restarts=0)
        self.assertNotEqual(job.number, resumed.number)

    def test_two_runs_of_one_user_on_the_same_machines_do_not_meet(self):
        jobs = [self.launched(self.folder / name) for name in ("a", "b")]
        self.cluster.wait_until(
            lambda: all(self.cluster.state(job.number) == "RUNNING" for job in jobs), "both run"
        )
        for job in jobs:
            job.wait_to_end()
            self.assert_same_results(self.local, job.run_dir)

    def revive(self, node):
        self.cluster.start_node(node)
        self.cluster.wait_until(
            lambda: self.cluster.node_states()[node] in ("idle", "mix", "alloc"), f"{node} is back", timeout_s=60
        )

    def launch_again(self):
        done = run_grpoctl(self.cluster, "launch", "--on", "slurm", "--resume", "--run-dir", self.run_dir)
        self.assertEqual(harness.EXIT_OK, done.returncode, done.stderr)
        return Job(self.cluster, self.run_dir)


if __name__ == "__main__":
    unittest.main()
