"""A generator that only tests have (tests/toy): its text alone is judged in a real run, from validate to report."""

import json
import shutil
import unittest

import harness

ROLLOUT_WORKER_TOY = harness.GRPOCTL.parents[1] / "tests/toy/rollout_worker_toy"
CONFIG = """
run: {{name: parrots, seed: 3}}
policies:
  base:
    random_init:
      {{tokenizer: {tokenizer}, hidden_size: 16, intermediate_size: 32, num_layers: 1, num_heads: 2, num_kv_heads: 1}}
data:
  problems: {{source: chickens_rabbits, max_heads: 10}}
rewards:
  rules_only: {{rules: {{math_answer: , format_tags: }}}}
stages:
  - name: measure
    type: evaluate
    policy: base
    data: problems
    rewards: rules_only
    problems: 4
    samples_per_problem: 8
    greedy: false
    sampling: {{max_new_tokens: 8}}
"""


class ToyGeneratorTest(harness.EndToEndTest):

    def setUp(self):
        super().setUp()
        # A copy, since grpoctl looks for the others beside the file that it really is.
        programs = self.folder / "programs"
        programs.mkdir()
        shutil.copy(harness.GRPOCTL, programs / "grpoctl")
        for name, program in (
            ("trainer", harness.TRAINER),
            ("reward_server", harness.REWARD_SERVER),
            ("rollout_worker", ROLLOUT_WORKER_TOY),
        ):
            (programs / name).symlink_to(program.resolve())
        self.grpoctl = programs / "grpoctl"
        self.config = self.folder / "parrots.yaml"
        self.config.write_text(CONFIG.format(tokenizer=harness.ROOT / "configs/tokenizers/chickens_rabbits.json"))

    def test_text_alone_is_measured_and_reported(self):
        checked = harness.grpoctl("validate", self.config, program=self.grpoctl)
        self.assertEqual(harness.EXIT_OK, checked.returncode, checked.stderr)
        run_dir = self.folder / "run"
        self.run_to_end(run_dir, self.config, program=self.grpoctl)

        samples = harness.completions(run_dir)
        self.assertEqual(4 * 8, len(samples))
        for sample in samples:
            self.assertIn(sample["completion"], sample["prompt"].split(" "))
        self.assertGreater(len({sample["completion"] for sample in samples}), 4, "the seeds choose the words")
        [stage] = json.loads((run_dir / "summary.json").read_text())["stages"]
        self.assertEqual(0, stage["metrics"]["pass_at_1"])
        # Nobody knows how many tokens that were: no mean is better than a wrong one.
        self.assertFalse({"mean_completion_tokens", "tokens_per_second"} & stage["metrics"].keys())

        report = harness.grpoctl("report", run_dir)
        self.assertEqual(harness.EXIT_OK, report.returncode, report.stderr)
        self.assertIn("measure", (run_dir / "report.md").read_text())


if __name__ == "__main__":
    unittest.main()
