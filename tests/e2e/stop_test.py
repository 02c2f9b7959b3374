"""Stopping always ends: every state of a run x every signal, as docs/operations.md has them."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import termios
import unittest

import harness
from harness import trainer_pb2

# As SIGTERM, each of them; what a second one does is common/stop_signal_test.cc's.
STOPS = {"TERM": signal.SIGTERM, "INT": signal.SIGINT, "HUP": signal.SIGHUP}
# Stages: pretrain, tune, measure.
ENDLESS = {"stages.pretrain.steps": 100000}
SHORT = {"stages.pretrain.steps": 12, "stages.tune.steps": 1}
EARLY = 5


def kill_trainer_again_and_again(run):
    """Until its next start is most of a second away."""

    def far_away():
        with contextlib.suppress(StopIteration, ProcessLookupError):
            os.kill(run.pid_of("trainer"), signal.SIGKILL)
        return run.stderr.count("starts again in") >= 5

    run.endpoint()
    harness.wait_until(far_away, "the trainer waits for its restart")


def stop_trainer(run):
    run.wait_for_step("pretrain", EARLY)
    os.kill(run.pid_of("trainer"), signal.SIGSTOP)


def assert_silence_is_told(run):
    """Whoever asks is told why the trainer does not answer, and not to start the run again."""
    pid = run.pid_of("trainer")
    # For 10 s, and whatever a busy machine adds.
    for text in ("the trainer has not answered for 1", f"`kill -CONT {pid}` lets it go on"):
        harness.wait_until(lambda text=text: text in run.stderr, "the silence is told")
    status = harness.grpoctl("status", "--run-dir", run.run_dir, "--deadline", "0.5")
    assert status.returncode == harness.EXIT_UNAVAILABLE, status
    assert "is stopped" in status.stderr and "--resume" not in status.stderr, status.stderr


def pause(run):
    run.wait_for_step("pretrain", EARLY)
    harness.grpoctl("pause", "--run-dir", run.run_dir)
    harness.wait_until(lambda: run.status().state == trainer_pb2.RUN_STATE_PAUSED, "the run is paused")


class State:
    """How a run gets there, and which checkpoint is there once it was stopped: (stage, step at least).

    `check` looks at it there, when all runs of the state have come so far.
    """

    def __init__(self, enter, settings, checkpoint=None, failpoints=None, answers=True, check=None):
        self.enter, self.settings, self.checkpoint, self.failpoints = enter, settings, checkpoint, failpoints
        self.check = check
        # Whether SIGQUIT is sent first: the trainer is there, and can tell what its threads do.
        self.answers = answers


def starts(run):
    harness.wait_until(lambda: "run tiny-" in run.stderr, "it starts")


def fails(run):
    harness.wait_until(run.fired, "the failpoint is reached")


# The table. A worker hangs at the first token of a version: 12 is what `tune` samples with, 13 what `measure` does.
STATES = {
    "starting": State(starts, ENDLESS, answers=False),
    "stepping": State(lambda run: run.wait_for_step("pretrain", EARLY), ENDLESS, ("pretrain", EARLY)),
    "paused": State(pause, ENDLESS, ("pretrain", EARLY)),
    "saving": State(
        fails,
        ENDLESS | {"checkpoint.every_steps": EARLY},
        ("pretrain", EARLY),
        failpoints="files.fsync(/checkpoints/)=delay:2000@1",
    ),
    "starved": State(fails, SHORT, ("tune", 0), failpoints="rollout.decode(policy tuned:)=stop@1"),
    "evaluating": State(fails, SHORT, ("measure", 0), failpoints="rollout.decode(policy tuned:13,)=stop@1"),
    "trainer waits for its restart": State(kill_trainer_again_and_again, ENDLESS, answers=False),
    "trainer does not answer": State(
        stop_trainer, ENDLESS | {"trainer.stop_within_s": 1}, answers=False, check=assert_silence_is_told
    ),
}


class StopTest(harness.EndToEndTest):

    def ask_what_threads_wait_for(self, run):
        """SIGQUIT: the processes' logs tell, and all goes on."""
        run.signal(signal.SIGQUIT)
        log = run.run_dir / "logs/trainer.log"
        told = re.compile(r"SIGQUIT: what every thread is doing\n +thread ")
        harness.wait_until(lambda: told.search(log.read_text()), "the trainer tells")
        harness.wait_until(lambda: told.search(run.stderr), "grpoctl tells")

    def newest_checkpoint(self, run_dir):
        listed = harness.grpoctl("ckpt", "ls", "--run-dir", run_dir, "--output", "json")
        verified = harness.grpoctl("ckpt", "verify", "--run-dir", run_dir)
        self.assertEqual(harness.EXIT_OK, verified.returncode, verified.stderr)
        newest = max(json.loads(listed.stdout), key=lambda checkpoint: checkpoint["name"])
        return newest["stage"], newest["step"]

    def stop_in(self, name, state):
        """Runs of one state, one for each signal, at the same time."""
        with contextlib.ExitStack() as stack:
            runs = {}
            for signal_name in STOPS:
                run_dir = self.folder / name.replace(" ", "_") / signal_name
                run_dir.parent.mkdir(exist_ok=True)
                run = harness.Run(run_dir, harness.TINY, state.settings, failpoints=state.failpoints)
                runs[signal_name] = stack.enter_context(run)
            for signal_name, run in runs.items():
                state.enter(run)
                if state.answers:
                    self.ask_what_threads_wait_for(run)
                if state.check is None:
                    run.signal(STOPS[signal_name])
            for signal_name, run in runs.items():
                if state.check is not None:
                    state.check(run)
                    run.signal(STOPS[signal_name])
            for signal_name, run in runs.items():
                with self.subTest(state=name, signal=signal_name):
                    self.assertEqual(harness.EXIT_RETRY, run.wait(), run.stderr)
                    self.assertIn("The run was stopped; go on with", run.stderr)
                    if state.checkpoint is None:
                        continue
                    stage, step = self.newest_checkpoint(run.run_dir)
                    self.assertEqual(state.checkpoint[0], stage)
                    self.assertGreaterEqual(step, state.checkpoint[1])

    def test_every_signal_ends_every_state(self):
        for name, state in STATES.items():
            self.stop_in(name, state)

    def test_processes_do_about_signals_what_their_supervisor_does_but_the_reward_server_reloads(self):
        with harness.Run(self.folder / "run", harness.TINY, ENDLESS) as run:
            run.wait_for_step("pretrain", EARLY)
            for child in ("reward-0", "rollout-0"):
                harness.wait_until(lambda child=child: self.tells(run, child), f"{child} tells")
            os.kill(run.pid_of("reward-0"), signal.SIGHUP)
            log = run.run_dir / "logs/reward-0.log"
            harness.wait_until(lambda: "loaded the reward profiles" in log.read_text(), "the reward server has reloaded")
            os.kill(run.pid_of("rollout-0"), signal.SIGHUP)
            harness.wait_until(lambda: "rollout-0 ended with exit code 75; starts again" in run.stderr, "it is replaced")
            os.kill(run.pid_of("trainer"), signal.SIGHUP)
            self.assertEqual(harness.EXIT_RETRY, run.wait(), run.stderr)
        self.assertEqual("pretrain", self.newest_checkpoint(run.run_dir)[0])

    def tells(self, run, child):
        """Asks what its threads wait for; one that has just started ignores the question."""
        with contextlib.suppress(StopIteration, FileNotFoundError):
            os.kill(run.pid_of(child), signal.SIGQUIT)
            return "SIGQUIT: what every thread" in (run.run_dir / f"logs/{child}.log").read_text()
        return False

    def test_a_closed_terminal_stops_the_run_with_a_checkpoint(self):
        run_dir = self.folder / "run"
        terminal, own_end = os.openpty()

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        command = [harness.GRPOCTL, "run", harness.TINY, "--run-dir", run_dir, "--set", "stages.pretrain.steps=100000"]
        run = subprocess.Popen(
            [str(word) for word in command], stdin=own_end, stdout=own_end, stderr=own_end, preexec_fn=take_terminal
        )
        self.addCleanup(run.kill)
        os.close(own_end)
        log = run_dir / "logs/trainer.log"
        # Nobody reads the terminal, whose buffer holds the few lines until then.
        harness.wait_until(lambda: log.exists() and "stage pretrain (train) starts" in log.read_text(), "it trains")
        os.close(terminal)
        self.assertEqual(harness.EXIT_RETRY, run.wait(60))
        self.assertEqual("pretrain", self.newest_checkpoint(run_dir)[0])

    def test_under_nohup_a_closed_terminal_is_nothing(self):
        # A child inherits what is ignored.
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            run = harness.Run(self.folder / "run", harness.TINY, SHORT)
        finally:
            signal.signal(signal.SIGHUP, before)
        with run:
            run.wait_for_step("pretrain", 1)
            for pid in (run.pid, run.pid_of("trainer")):
                os.kill(pid, signal.SIGHUP)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)

    def test_files_that_may_not_grow_are_named_and_kill_nobody(self):
        limited = self.folder / "limited_grpoctl"
        # In blocks of 512 bytes: less than a checkpoint's weights take.
        limited.write_text(f'#!/bin/sh\nulimit -f 60\nexec {harness.GRPOCTL} "$@"\n')
        limited.chmod(limited.stat().st_mode | stat.S_IXUSR)
        with harness.Run(self.folder / "run", harness.TINY, SHORT, program=limited) as run:
            run.wait()
            logs = "".join(path.read_text() for path in pathlib.Path(run.run_dir, "logs").iterdir())
            self.assertRegex(run.stderr + logs, r"write .*: File too large")
            self.assertNotIn("signal 25", run.stderr)


if __name__ == "__main__":
    unittest.main()
