"""kill -9 at seeded points of every process, in the middle of what it does: the run ends as if nobody had touched it.

Each test arms points by name (common/failpoint_on.h), sees that each fired in the state it names, and compares metrics
(losses, rewards, hashes of token ids and of weights), completions and exported weights with an undisturbed run's.
tests/e2e/save_kill_test.py does the same for every operation of a save.
"""

import random
import unittest

import harness

# Of each kind. A run takes a few: a killed process starts again after a delay that grows with each death.
NUM_POINTS = 20
POINTS_PER_RUN = 5
SEED = 20261124

# Phases of a step (trainer/loop.cc), in which one rank dies.
PHASES = ("pack", "forward_backward", "all_reduce", "agree", "optimizer", "compare")


class KillTest(harness.AgainstUndisturbedRunTest):
    # Two ranks, so that one of them can die inside a step.
    SETTINGS = {"trainer.ranks": 2, "checkpoint.every_steps": 5, "trainer.collective_timeout_s": 20}

    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self.id()}")

    def assert_fired(self, run, points):
        """Every point has killed a process, in the state that it names."""
        fired = run.fired()
        for i, (name, state, action, hit) in enumerate(points):
            with self.subTest(point=i):
                mark = fired.get(f"{name}.{i}")
                self.assertIsNotNone(mark, f"point {points[i]} was not reached")
                self.assertIn(state, mark["detail"])
                self.assertEqual(str(hit), mark["hit"])

    def run_with(self, points, resume, expected_code):
        """A run in which these (name, part of the state, action, hit) fail."""
        failpoints = ";".join(f"{name}({state})={action}@{hit}" for name, state, action, hit in points)
        config, settings = (None, None) if resume else (harness.TINY, self.SETTINGS)
        with harness.Run(self.run_dir, config, settings, resume, max_restarts=99, failpoints=failpoints) as run:
            self.assertEqual(expected_code, run.wait(120), run.stderr)
            self.assert_fired(run, points)

    def kill_one_process_at(self, make_point):
        """NUM_POINTS deaths that the supervisor mends, some in each run; a comparison after each run."""
        for first in range(0, NUM_POINTS, POINTS_PER_RUN):
            self.run_dir = self.folder / f"run-{first}"
            points = [make_point("kill") for _ in range(POINTS_PER_RUN)]
            self.run_with(points, resume=False, expected_code=harness.EXIT_OK)
            self.assert_undisturbed_results()

    def test_a_worker_in_the_middle_of_a_group(self):
        # After a death every group that the worker held is leased alone, some 40 tokens each. The next death comes when
        # they are done: a group that kills its worker twice would rightly be taken for the culprit.
        self.kill_one_process_at(lambda action: ("rollout.decode", "policy tuned:", action, self.random.randint(180, 330)))

    def test_the_reward_server_in_the_middle_of_a_batch(self):
        self.kill_one_process_at(lambda action: ("reward.score", "completion ", action, self.random.randint(1, 150)))

    def phase_of_a_rank(self, action, max_hit):
        state = f"rank {self.random.randint(0, 1)}: {self.random.choice(PHASES)}"
        return "trainer.phase", state, action, self.random.randint(1, max_hit)

    def test_one_rank_inside_a_step(self):
        self.kill_one_process_at(lambda action: self.phase_of_a_rank(action, max_hit=25))

    def test_everything(self):
        # One run through all deaths, each a few steps after the resumption before: the first half in the pre-training,
        # the others wherever in RL.
        for i in range(NUM_POINTS):
            point = self.phase_of_a_rank("kill_all", max_hit=12)
            if i >= NUM_POINTS // 2:
                point = self.random.choice([
                    self.phase_of_a_rank("kill_all", max_hit=4),
                    ("rollout.decode", "policy tuned:", "kill_all", self.random.randint(1, 120)),
                    ("reward.score", "completion ", "kill_all", self.random.randint(1, 60)),
                ])
            self.run_with([point], resume=i > 0, expected_code=128 + 9)
            harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
        self.finish_and_compare()


if __name__ == "__main__":
    unittest.main()
