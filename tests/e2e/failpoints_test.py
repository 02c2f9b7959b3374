"""Faults in a named state of one process, put there by failpoints: the results do not show them."""

import unittest

import harness


class FailpointsTest(harness.AgainstUndisturbedRunTest):

    def test_workers_and_reward_servers_that_die_at_work_are_replaced(self):
        points = [
            "rollout.decode(policy tuned:180,)=kill@2",  # in the middle of its groups
            "rollout.submit(tune/)=kill@30",  # scored, not handed in
            "rollout.submit(tune/)=error:EIO@9",  # an attempt that fails is repeated
            "reward.score=kill@300",
        ]
        with harness.Run(self.run_dir, harness.TINY, failpoints=";".join(points)) as run:
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
            fired = run.fired()
            self.assertEqual(2, run.stderr.count("rollout-0 ended with signal 9"))
            self.assertEqual(1, run.stderr.count("reward-0 ended with signal 9"))
        self.assertEqual(
            {"rollout.decode.0", "rollout.submit.1", "rollout.submit.2", "reward.score.3"}, set(fired), fired
        )
        self.assertRegex(fired["rollout.decode.0"]["detail"], r"^policy tuned:180, [1-9]\d* groups, \d+ tokens so far$")
        self.assert_undisturbed_results()


if __name__ == "__main__":
    unittest.main()
