"""Plug-ins that are one file and one line under tests/toy go through validate, run and report like the product's own."""

import json
import pathlib
import shutil
import tempfile
import unittest

import harness

TOYS = harness.ROOT / "tests/e2e/toys.yaml"


def grpoctl_with_toys():
    """A copy of grpoctl with toys, beside the trainer with toys and the product's other programs."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="toys."))
    # A copy, since grpoctl looks beside the file that it really is.
    shutil.copy(harness.binary("tests/toy/grpoctl_toy"), folder / "grpoctl")
    for name, target in {
        "trainer": "tests/toy/trainer_toy",
        "rollout_worker": "rollout/rollout_worker",
        "reward_server": "reward/reward_server",
    }.items():
        (folder / name).symlink_to(harness.binary(target).resolve())
    return folder / "grpoctl"


class ToysTest(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        cls.grpoctl = grpoctl_with_toys()
        cls.addClassCleanup(shutil.rmtree, cls.grpoctl.parent)

    def test_validate_knows_their_keys_names_and_costs(self):
        shown = harness.grpoctl("validate", TOYS, program=self.grpoctl)
        self.assertEqual(harness.EXIT_OK, shown.returncode, shown.stderr)
        for text in ("strength: 0.5", "long_tokens: 4", "4 prompts x 2 = 8 completions a step", "6 questions"):
            self.assertIn(text, shown.stdout)
        wrong = harness.grpoctl("validate", TOYS, "--set", "stages.ask.policy=studnt", program=self.grpoctl)
        self.assertEqual(harness.EXIT_CONFIG, wrong.returncode)
        self.assertIn("stages.1.policy: there is no policies.studnt; did you mean student?", wrong.stderr)

    def test_run_and_report_show_what_they_say_of_themselves(self):
        run_dir = self.folder / "run"
        with harness.Run(run_dir, TOYS, program=self.grpoctl) as run:
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
            shown = run.stdout + run.stderr
        self.assertRegex(shown, r"ask  question 6/6  long \d+\.\d %")
        self.assertRegex(shown, r"survey +student")
        stages = {stage["name"]: stage for stage in json.loads((run_dir / "summary.json").read_text())["stages"]}
        self.assertEqual("toy_survey", stages["ask"]["type"])
        self.assertEqual(6, stages["ask"]["metrics"]["num_answers"])
        self.assertIn("loss", stages["learn"]["metrics"])
        self.assertEqual(6, len((run_dir / "answers.jsonl").read_text().splitlines()))
        written = harness.grpoctl("report", run_dir, program=self.grpoctl)
        self.assertEqual(harness.EXIT_OK, written.returncode, written.stderr)
        report = (run_dir / "report.md").read_text()
        for heading in ("## Evaluations", "## Surveys", "## Training"):
            self.assertIn(heading, report)

    def test_the_products_own_programs_do_not_know_them(self):
        shown = harness.grpoctl("validate", TOYS)
        self.assertEqual(harness.EXIT_CONFIG, shown.returncode)
        self.assertIn("stages.0.algorithm: there is no algorithm toy_distill", shown.stderr)
        self.assertIn("stages.1.type: is toy_survey; it must be one of train, evaluate, synthesize", shown.stderr)


if __name__ == "__main__":
    unittest.main()
