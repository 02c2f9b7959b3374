"""Runs that are ended by signals and go on afterwards, against one that nobody touched."""

import os
import signal
import unittest

import harness

# The step at which a test interferes; as many again are left then.
EARLY = 20


class ResumeTest(harness.AgainstUndisturbedRunTest):

    def test_the_same_seed_gives_the_same_results(self):
        self.run_to_end(self.run_dir, harness.TINY)
        self.assert_undisturbed_results()

    def test_sigterm_exits_with_the_code_for_retry_in_any_stage(self):
        # Twice in one run: in the middle of the corpus, and of RL after that was resumed.
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("pretrain", EARLY)
            run.signal(signal.SIGTERM)
            self.assertEqual(harness.EXIT_RETRY, run.wait())
        with harness.Run(self.run_dir, resume=True) as run:
            run.wait_for_step("tune", EARLY)
            run.signal(signal.SIGTERM)
            self.assertEqual(harness.EXIT_RETRY, run.wait())
        self.finish_and_compare()

    def test_a_second_ctrl_c_ends_everything_at_once(self):
        with harness.Run(self.run_dir, harness.TINY, {"checkpoint.every_steps": 7}) as run:
            run.wait_for_step("tune", EARLY)
            # A trainer that stands still cannot end by itself.
            os.kill(run.pid_of("trainer"), signal.SIGSTOP)
            run.signal(signal.SIGINT)
            harness.wait_until(lambda: "once more ends everything at once" in run.stderr, "the first one is taken")
            run.signal(signal.SIGINT)
            self.assertEqual(128 + signal.SIGINT, run.wait(60))
        harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
        self.finish_and_compare()

    def test_what_was_committed_survives_kill(self):
        with harness.Run(self.run_dir, harness.TINY, {"checkpoint.every_steps": 7}) as run:
            run.wait_for_step("tune", EARLY)
            run.signal(signal.SIGKILL)
            self.assertEqual(128 + signal.SIGKILL, run.wait())
        harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
        self.finish_and_compare()

    def test_a_trainer_that_dies_goes_on_from_the_last_commit(self):
        with harness.Run(self.run_dir, harness.TINY, {"checkpoint.every_steps": 7}) as run:
            for stage in ("pretrain", "tune"):
                run.wait_for_step(stage, EARLY)
                os.kill(run.pid_of("trainer"), signal.SIGKILL)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
            self.assertIn("trainer ended with signal 9", run.stderr)
            self.assertIn("starting trainer again (restart 2 of 10)", run.stderr)
        self.assert_undisturbed_results()

    def test_a_trainer_that_dies_too_often_ends_the_run_and_says_how_to_go_on(self):
        with harness.Run(self.run_dir, harness.TINY, {"checkpoint.every_steps": 7}, max_restarts=0) as run:
            run.wait_for_step("tune", EARLY)
            os.kill(run.pid_of("trainer"), signal.SIGKILL)
            self.assertEqual(harness.EXIT_FAILED, run.wait())
            self.assertIn("trainer ended with signal 9", run.stderr)
            self.assertIn(f"grpoctl run --resume --run-dir {self.run_dir}", run.stderr)
        self.finish_and_compare()


if __name__ == "__main__":
    unittest.main()
