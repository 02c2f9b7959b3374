"""Disks that are full or fail while a checkpoint is saved: a small file system, and strace's injected errors."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import trainer_pb2

EARLY = 10
EVERY_STEPS = 7


class DiskTest(harness.AgainstUndisturbedRunTest):

    def setUp(self):
        super().setUp()
        self.saves = self.run_dir / "checkpoints"

    def start_until_stopped(self, on_error):
        settings = {"checkpoint.every_steps": EVERY_STEPS, "checkpoint.on_error": on_error}
        with harness.Run(self.run_dir, harness.TINY, settings) as run:
            run.wait_for_step("tune", EARLY)
            harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, run.wait())

    def move_to_small_disk(self):
        """Puts the checkpoints onto a file system of their own."""
        aside = self.saves.rename(self.folder / "aside")
        self.saves.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.saves]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.fail(f"this test fills a disk for real, and needs the right to mount one: {mounted.stderr}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", self.saves], check=True)
        shutil.copytree(aside, self.saves, dirs_exist_ok=True)

    def fill_disk(self):
        """Leaves less than a checkpoint's room; returns the file to delete."""
        ballast = self.saves / "ballast"
        free = os.statvfs(self.saves).f_bavail * os.statvfs(self.saves).f_frsize
        ballast.write_bytes(bytes(free - 64 * 1024))
        return ballast

    def names(self):
        return sorted(path.name for path in self.saves.iterdir())

    def num_failures(self):
        return (self.run_dir / "logs/trainer.log").read_text().count("SAVING FAILED, no checkpoint at step")

    def wait_for_failures(self, count):
        harness.wait_until(lambda: self.num_failures() >= count, f"{count} saves have failed")

    def assert_whole(self):
        verified = harness.grpoctl("ckpt", "verify", "--run-dir", self.run_dir)
        self.assertEqual(harness.EXIT_OK, verified.returncode, verified.stdout)

    def control(self, verb):
        done = harness.grpoctl(verb, "--run-dir", self.run_dir)
        self.assertEqual(harness.EXIT_OK, done.returncode, done.stderr)

    def test_a_full_disk_costs_checkpoints_until_there_is_room_and_the_run_goes_on(self):
        self.start_until_stopped("continue")
        self.move_to_small_disk()
        ballast = self.fill_disk()
        before = self.names()
        with harness.Run(self.run_dir, resume=True) as run:
            self.wait_for_failures(1)
            self.control("pause")
            self.assertEqual(before, self.names())
            self.assert_whole()
            error = run.status().last_checkpoint.error
            self.assertIn("No space left on device", error)
            self.assertIn(f"write {self.saves}/step-", error)
            shown = harness.grpoctl("status", "--run-dir", self.run_dir).stdout
            self.assertRegex(shown, r"SAVE FAILED +write .*No space left on device")
            harness.wait_until(lambda: "SAVING FAILED" in run.stderr, "the failure is shown")
            ballast.unlink()
            self.control("resume")
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_whole()
        self.assertGreater(self.names()[-1], before[-1])
        self.assert_undisturbed_results()

    def test_a_full_disk_pauses_the_run_where_that_is_configured(self):
        self.start_until_stopped("pause")
        self.move_to_small_disk()
        ballast = self.fill_disk()
        before = self.names()
        with harness.Run(self.run_dir, resume=True) as run:

            def paused_after(failures):
                self.wait_for_failures(failures)
                paused = trainer_pb2.RUN_STATE_PAUSED
                harness.wait_until(lambda: run.status().state == paused, "the run is paused")
                return run.status()

            status = paused_after(1)
            for text in ("no checkpoint at step", "No space left on device", "`grpoctl resume` tries again"):
                self.assertIn(text, status.state_reason)
            self.assertEqual(before, self.names())
            self.control("resume")  # too early: it pauses again
            self.assertEqual(status.stages[1].step, paused_after(2).stages[1].step)
            ballast.unlink()
            self.control("resume")
            run.wait_for_step("tune", status.stages[1].step + 1)
            self.assertEqual(2, self.num_failures())
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_whole()
        self.assert_undisturbed_results()

    def next_save(self):
        """Where the coming checkpoint will be."""
        listed = harness.grpoctl("ckpt", "ls", "--run-dir", self.run_dir, "--output", "json")
        newest = json.loads(listed.stdout)[-1]
        number = int(newest["name"].removeprefix("step-"))
        return self.saves / f"step-{number + EVERY_STEPS - newest['step'] % EVERY_STEPS:012d}"

    @contextlib.contextmanager
    def strace(self, pid, *arguments):
        """The kernel's answers to this process are changed while the context lasts."""
        with tempfile.TemporaryFile("a+") as said:
            command = ["strace", "--follow-forks", f"--attach={pid}", "--output=/dev/null", *map(str, arguments)]
            tracer = subprocess.Popen(command, stderr=said)

            def attached():
                said.seek(0)
                text = said.read()
                if tracer.poll() is not None:
                    self.fail(f"this test needs strace and the right to trace: {text}")
                return "attached" in text

            try:
                harness.wait_until(attached, "strace has attached")
                yield
            finally:
                tracer.terminate()
                tracer.wait()

    def test_system_calls_that_fail_cost_a_checkpoint_each_and_nothing_else(self):
        with harness.Run(self.run_dir, harness.TINY, {"checkpoint.every_steps": EVERY_STEPS}) as run:
            run.wait_for_step("tune", 1)
            self.control("pause")
            # The first file, the folder, its parent (the checkpoint is in place by then); in one file, by its path.
            for count, fault in enumerate(["fsync 1", "fsync 11", "fsync 12", "write"], start=1):
                with self.subTest(fault):
                    self.control("checkpoint")  # served once the run stands still; after a failure: the next try
                    self.assert_whole()
                    coming = self.next_save()
                    call, _, when = fault.partition(" ")
                    arguments = [f"--inject={call}:error={'EIO' if call == 'fsync' else 'ENOSPC'}:when={when or 1}"]
                    if call == "write":
                        arguments.append(f"--trace-path={coming}.tmp/state.json")
                    with self.strace(run.pid_of("trainer"), f"--trace={call}", *arguments):
                        self.control("resume")
                        self.wait_for_failures(count)
                        self.control("pause")
                    self.assertFalse(coming.exists())
                    self.assertFalse(coming.with_suffix(".tmp").exists())
                    self.assert_whole()
            self.control("resume")
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assertEqual(4, self.num_failures())
        self.assert_whole()
        self.assert_undisturbed_results()


if __name__ == "__main__":
    unittest.main()
