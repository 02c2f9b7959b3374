#!/usr/bin/env python3
"""Watches a run and prints a line for each change; with --stop-at, stops it once its reward is good enough.

    python3 watch_run.py runs/quickstart
    python3 watch_run.py runs/quickstart --stop-at 0.9

Copy bazel-bin/sdk/grpo_client.py beside it, or put its folder on PYTHONPATH. Exits with 0 for a run that finished or that this stopped,
1 for one that failed.
"""

import argparse
import sys

from grpo_client import Client


def line(status):
    numbers = [f"{name} {status.metrics[name]:.4g}" for name in ("reward", "loss", "pass_at_1") if name in status.metrics]
    place = f"{status.stage} {status.step}/{status.num_steps or '?'}"
    return "  ".join([status.state, place, *numbers, status.reason]).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir")
    parser.add_argument("--stop-at", type=float, metavar="REWARD", help="stop the run at a step whose mean reward is at least this")
    arguments = parser.parse_args()
    stopped = False
    with Client(run_dir=arguments.run_dir) as run:
        for status in run.watch():
            print(line(status), flush=True)
            if arguments.stop_at is not None and not stopped and status.metrics.get("reward", -1e9) >= arguments.stop_at:
                print(f"reward {arguments.stop_at} is reached: {run.stop()}", flush=True)
                stopped = True
    return 0 if stopped or status.state == "FINISHED" else 1


if __name__ == "__main__":
    sys.exit(main())
