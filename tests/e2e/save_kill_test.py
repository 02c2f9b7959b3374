"""The whole run is killed at every write, fsync and rename of a save: what was committed is there, and it goes on.

Each start takes up what the kill before it left and dies at the next operation of its own first save, so that the
results at the end speak for all of them.
"""

import json
import re
import signal
import unittest

import harness

EARLY = 10
EVERY_STEPS = 2
# One save of this run writes eleven files (LATEST among them) with three calls each, and moves them into place.
LEAST_NUM_OPERATIONS = 40


class SaveKillTest(harness.AgainstUndisturbedRunTest):

    def checkpoints(self):
        """{sequence: step of the stage} of what is listed, which must be whole."""
        verified = harness.grpoctl("ckpt", "verify", "--run-dir", self.run_dir)
        self.assertEqual(harness.EXIT_OK, verified.returncode, verified.stdout)
        listed = json.loads(harness.grpoctl("ckpt", "ls", "--run-dir", self.run_dir, "--output", "json").stdout)
        return {int(one["name"].removeprefix("step-")): one["step"] for one in listed}

    def kill_at(self, operation):
        """Goes on with the run and kills it at the n-th operation on its checkpoints; the mark of that."""
        points = f"files.*({self.run_dir}/checkpoints)=kill_all@{operation}"
        with harness.Run(self.run_dir, resume=True, failpoints=points) as run:
            self.assertEqual(128 + signal.SIGKILL, run.wait(), run.stderr)
            fired = run.fired()
        harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
        self.assertEqual(["files.*.0"], list(fired))
        return fired["files.*.0"]

    def test_what_was_committed_survives_a_kill_at_every_operation_of_a_save(self):
        with harness.Run(self.run_dir, harness.TINY, {"checkpoint.every_steps": EVERY_STEPS}) as run:
            run.wait_for_step("tune", EARLY)
            harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, run.wait())
        operations, after = [], self.checkpoints()
        while True:
            before = after
            newest = max(before)
            saved = newest + EVERY_STEPS - before[newest] % EVERY_STEPS  # by the first save after this start
            mark = self.kill_at(len(operations) + 1)
            after = self.checkpoints()
            path = mark["detail"].removeprefix(f"{self.run_dir}/checkpoints").lstrip("/")
            number = re.match(r"step-0*(\d+)", path)
            if max(after) > saved or (number and int(number[1]) > saved):
                break  # the first save has been through: it has no such operation
            self.assertIn(max(after), (newest, saved), mark)
            operations.append(f"{mark['name'].removeprefix('files.')} {path or '.'}")
        print(*operations, sep="\n")
        self.assertGreaterEqual(len(operations), LEAST_NUM_OPERATIONS)
        for name in ("open", "write", "fsync", "rename", "sync_folder", "remove"):
            self.assertTrue(any(operation.startswith(name + " ") for operation in operations), name)
        for end in ("state.json", "manifest.json"):
            self.assertTrue(any(operation.endswith(end) for operation in operations), end)
        self.finish_and_compare()


if __name__ == "__main__":
    unittest.main()
