"""The wall clock is set while a run goes on: results and liveness are those of a run whose clock nobody touched.

libfaketime shows what programs make of the clock, and cannot set back a wait that the kernel has begun. A wait for a
time of the wall clock that begins while the clock is ahead stands for it: it lasts too long by as much. strace shows
that no thread of ours begins any. Those of libraries do, and end all the same:

- gRPC's timers. A call's deadline is kept by an alarm of ours (rpc::CallContext), a server's grace too; a channel that
  should have connected again is told to (rpc::Client); a peer that is gone is noticed by the kernel, to which gRPC
  gives keepalive's patience as TCP_USER_TIMEOUT. Idle threads of its pools only end later.
- c10d's and Gloo's waits for another rank, in a run of several: what they wait for ends them. Only their timeout is by
  the wall clock, and the supervisor ends every rank when one is gone.
"""

import collections
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest
from unittest import mock

import harness

EARLY = 10
FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")

# Longer than any pause of ours in tests/e2e/tiny.yaml: each begins anew while the clock is ahead.
WINDOW_S = 1

# A wait for a time of the wall clock: FUTEX_CLOCK_REALTIME, and a time. What has none is no wait for a time.
TIMED_BY_WALL_CLOCK = re.compile(r"^futex\(.*FUTEX_CLOCK_REALTIME, \d+, \{tv_sec=")
FRAME = re.compile(r"^ > ([^(]+)\((.*?)(?:\+0x[0-9a-f]+)?\) \[")
# What a wait goes through on its way to the kernel, and those whose waits are theirs.
PLUMBING = ("libc.so", "libabsl_", "libstdc++.so")
OTHERS = ("libgrpc", "libgpr", "libtorch")
PROGRAMS = ("grpoctl", "trainer", "rollout_worker", "reward_server")


def waiters(trace):
    """Who waited for a time of the wall clock.

    {(library or program, function): count} for the waits that ended, whose stacks follow the line of their end; and the
    threads whose wait lasts.
    """
    found, waiting, ended = collections.Counter(), set(), None
    for line in trace.splitlines():
        if frame := FRAME.match(line):
            where = os.path.basename(frame[1])
            if ended and not where.startswith(PLUMBING):
                found[where, frame[2]] += 1
                waiting.discard(ended)
                ended = None
            continue
        thread, _, call = line.partition(" ")
        call = call.lstrip()
        if call.startswith("futex("):
            waiting.discard(thread)
        if TIMED_BY_WALL_CLOCK.match(call):
            waiting.add(thread)
        ended = thread if thread in waiting and not call.endswith("<unfinished ...>") else None
    return found, waiting


def name_of_thread(process, thread):
    """What the kernel calls it: gRPC names its threads, ours have the program's name. None when it has ended."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{process}/task/{thread}/comm").read_text().strip()
    return None


class ClockTest(harness.AgainstUndisturbedRunTest):

    def set_clock(self, offset):
        """Of every process that began under faketime(): "+1h" ahead of the machine's."""
        new = self.clock.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self.clock)

    def faketime(self):
        """What is started while this context lasts has a wall clock that set_clock sets. The monotonic one is as it is."""
        self.assertTrue(FAKETIME.exists(), "this test needs Debian's faketime: run tools/setup")
        self.clock = self.folder / "clock"
        self.set_clock("+0")
        return mock.patch.dict(
            os.environ,
            LD_PRELOAD=str(FAKETIME),
            FAKETIME_TIMESTAMP_FILE=str(self.clock),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            NO_FAKE_STAT="1",
        )

    def control(self, verb):
        # Again and again: what strace follows answers slowly, on a busy machine too slowly for one call.
        harness.wait_until(
            lambda: harness.grpoctl(verb, "--run-dir", self.run_dir).returncode == harness.EXIT_OK, verb, timeout_s=300
        )

    def test_a_clock_that_is_set_ahead_and_back_changes_nothing(self):
        with self.faketime():
            run = harness.Run(self.run_dir, harness.TINY)
        with run:
            run.wait_for_step("tune", EARLY)
            # While it works, so that the waits of a step begin then too; and while it is paused, whatever its speed.
            self.set_clock("+1h")
            time.sleep(WINDOW_S / 4)
            self.control("pause")
            time.sleep(WINDOW_S)
            self.set_clock("+0")
            self.control("resume")
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_undisturbed_results()

    def test_a_clock_that_is_set_back_by_years_changes_nothing(self):
        with self.faketime():
            run = harness.Run(self.run_dir, harness.TINY)
        with run:
            run.wait_for_step("tune", EARLY)
            self.set_clock("-10y")
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_undisturbed_results()

    def test_no_thread_of_ours_waits_for_a_time_of_the_wall_clock(self):
        output = self.folder / "trace"
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", EARLY)
            self.control("pause")
            processes = [run.pid, *(run.pid_of(child) for child in ("trainer", "rollout-0", "reward-0"))]
            command = ["strace", "--follow-forks", "--stack-traces", "--trace=futex", f"--output={output}"]
            command += [f"--attach={pid}" for pid in processes]
            with open(self.folder / "strace.log", "w+", encoding="utf-8") as said:
                tracer = subprocess.Popen(command, stderr=said)
                try:
                    time.sleep(WINDOW_S)
                    self.control("resume")
                    time.sleep(WINDOW_S)
                finally:
                    tracer.terminate()
                    tracer.wait()
                said.seek(0)
                text = said.read()
            found, waiting = waiters(output.read_text(errors="replace"))
            lasting = {name_of_thread(process, thread) for process in processes for thread in waiting}
            for pid in processes:
                self.assertIn(f"Process {pid} attached", text, "this test needs strace and the right to trace")
            run.signal(signal.SIGKILL)
            run.wait()
        self.assertEqual([], [where for where in found if not where[0].startswith(OTHERS)])
        self.assertEqual([], [name for name in lasting if name in PROGRAMS])
        # What does wait so is seen.
        self.assertTrue(found or waiting, "not even gRPC's timers were seen to wait")


if __name__ == "__main__":
    unittest.main()
