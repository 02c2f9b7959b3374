"""Checkpoints that are looked at, damaged, or were made elsewhere: what a run goes on from is whole, or refused."""

import hashlib
import json
import unittest

import harness

EARLY = 20
EVERY_STEPS = {"checkpoint.every_steps": 7}


class CkptTest(harness.AgainstUndisturbedRunTest):

    def run_until_stopped(self, config, settings, stage):
        with harness.Run(self.run_dir, config, settings) as run:
            run.wait_for_step(stage, EARLY)
            harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, run.wait())

    def ckpt(self, verb, *arguments):
        return harness.grpoctl("ckpt", verb, "--run-dir", self.run_dir, *arguments)

    def checkpoints(self):
        return sorted((self.run_dir / "checkpoints").glob("step-*"))

    def log(self):
        return (self.run_dir / "logs/trainer.log").read_text()

    def assert_resume_refused(self, *says):
        with harness.Run(self.run_dir, resume=True) as run:
            self.assertEqual(harness.EXIT_DATA, run.wait(), run.stderr)
            for text in says:
                self.assertIn(text, run.stderr)

    def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(self):
        self.run_until_stopped(harness.TINY, EVERY_STEPS, "tune")
        listed = json.loads(self.ckpt("ls", "--output", "json").stdout)
        self.assertEqual([path.name for path in self.checkpoints()], [one["name"] for one in listed])
        self.assertEqual([("tune", False), ("tune", True)], [(one["stage"], one["latest"]) for one in listed])
        self.assertEqual(harness.EXIT_OK, self.ckpt("verify").returncode)
        older, newest = self.checkpoints()
        weights = newest / "policy.tuned.safetensors"
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
        verified = self.ckpt("verify")
        self.assertEqual(harness.EXIT_DATA, verified.returncode)
        self.assertRegex(verified.stdout, rf"{newest.name} +BROKEN: policy.tuned.safetensors has")
        self.assertRegex(verified.stdout, rf"{older.name} +whole")
        self.assertEqual(harness.EXIT_OK, self.ckpt("verify", older.name).returncode)
        self.finish_and_compare()
        self.assertIn(f"CHECKPOINT {newest.name} IS BROKEN and is not used", self.log())
        self.assertIn(f"CHECKPOINT {older.name} IS USED INSTEAD", self.log())

    def test_without_a_whole_checkpoint_a_run_does_not_go_on(self):
        self.run_until_stopped(harness.TINY, EVERY_STEPS, "tune")
        for checkpoint in self.checkpoints():
            (checkpoint / "state.json").unlink()
        self.assert_resume_refused("none of the 2 checkpoints", "state.json")

    def test_data_that_changed_are_refused(self):
        problems = self.folder / "problems.jsonl"
        problems.write_bytes((harness.ROOT / "datasets/own_problems_example.jsonl").read_bytes())
        before = problems.read_bytes()
        own = harness.ROOT / "tests/e2e/own.yaml"
        self.run_until_stopped(own, {"data.problems.path": problems, "stages.tune.steps": 1000}, "tune")
        problems.write_bytes(before[before.index(b"\n") + 1 :])
        hashes = [hashlib.sha256(content).hexdigest() for content in (before, problems.read_bytes())]
        self.assert_resume_refused("data.problems has changed", *hashes, "put the old content back")

    def test_a_policy_that_is_not_trained_is_only_named_and_must_be_what_it_was(self):
        tokenizer = self.folder / "tokenizer.json"
        tokenizer.write_bytes((harness.ROOT / "configs/tokenizers/chickens_rabbits.json").read_bytes())
        settings = {
            "data.problems.path": harness.ROOT / "datasets/own_problems_example.jsonl",
            "policies.small.random_init.tokenizer": tokenizer,
            "policies.tuned.initialize_from": "small",
            "stages.tune.policy": "tuned",
            "stages.tune.steps": 1000,
        }
        self.run_until_stopped(harness.ROOT / "tests/e2e/own.yaml", settings, "tune")
        newest = self.checkpoints()[-1]
        state = json.loads((newest / "state.json").read_text())
        self.assertEqual(["tuned"], state["policies"])
        (frozen,) = state["frozen_policies"]
        self.assertEqual("small", frozen["policy"])
        self.assertIn(str(tokenizer), frozen["source"])
        self.assertEqual([], list(newest.glob("policy.small.*")))
        self.assertEqual(harness.EXIT_OK, self.ckpt("verify").returncode)
        before = tokenizer.read_bytes()
        tokenizer.write_bytes(before + b"\n")
        self.assert_resume_refused(
            f"policies.small has changed: its digest was {frozen['digest']}, now it is ", "put the old content back"
        )
        tokenizer.write_bytes(before)
        with harness.Run(self.run_dir, resume=True) as run:
            run.wait_for_step("tune", int(state["step"]) + 2)
            harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        for line in harness.json_lines(self.run_dir / "metrics.jsonl"):
            self.assertLess(float(line["weights_wait_seconds"]), 10, "no worker pulls while its policy is updated")

    def test_a_checkpoint_from_other_circumstances_is_taken_with_a_loud_line(self):
        self.run_until_stopped(harness.TINY, EVERY_STEPS, "tune")
        newest = self.checkpoints()[-1]
        state = json.loads((newest / "state.json").read_text())
        self.assertEqual(1, state["environment"]["world_size"])
        state["environment"]["threads"] = 64
        content = json.dumps(state).encode()
        (newest / "state.json").write_bytes(content)
        manifest = json.loads((newest / "manifest.json").read_text())
        entry = next(entry for entry in manifest["files"] if entry["name"] == "state.json")
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        (newest / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        self.finish_and_compare()
        self.assertRegex(self.log(), r"NOT BITWISE: .* threads 64, now 1\n")


if __name__ == "__main__":
    unittest.main()
