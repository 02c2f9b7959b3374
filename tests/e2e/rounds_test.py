"""Rounds: each has its own files and its row in the report, and learns from all that were written so far; a kill in any stage of any round
changes nothing, and rounds that gain too little are left out, also by a run that was killed."""

import json
import random
import unittest

import harness

CHECKPOINT_EVERY = 5
# Stages of a round, and where each is killed: groups that its workers hand in, or updates that it makes.
GROUPS = {"solve": 30, "practise": 32, "measure": 30}
UPDATES = {"learn": 24}
# In each stage of these rounds.
KILLED_ROUNDS = (1, 3)


def seeded_kills():
    """(stage, failpoint) of each kill, in the order in which a run meets them; each process counts from its start. `learn` is killed by the
    process that went on with `solve`, so the updates that it counts are those of `learn`."""
    for round_ in KILLED_ROUNDS:
        for stage in ("solve", "learn", "practise", "measure"):
            name = f"cycle.{round_}.{stage}"
            hits = random.Random(name)
            if stage in UPDATES:
                yield name, f"trainer.phase(rank 0: optimizer)=kill_all@{hits.randrange(2, UPDATES[stage])}"
            else:
                yield name, f"rollout.submit({name}/)=kill_all@{hits.randrange(2, GROUPS[stage])}"


class RoundsTest(harness.AgainstUndisturbedRunTest):
    CONFIG = harness.ROUNDS
    SETTINGS = {"checkpoint.every_steps": CHECKPOINT_EVERY}

    @staticmethod
    def table(run_dir, names=None):
        """The entries of summary.json, of all stages or those of these names, without what the clock and the folder say and what it took."""
        entries = json.loads((run_dir / "summary.json").read_text())["stages"]
        for entry in entries:
            entry.pop("seconds")
            entry.pop("spent", None)
            entry.pop("exported_to", None)
            entry["metrics"] = {name: value for name, value in entry["metrics"].items() if name not in harness.TIMINGS}
        return [entry for entry in entries if names is None or entry["name"] in names]

    @staticmethod
    def files(run_dir):
        """What the rounds wrote, by path."""
        paths = [path for path in run_dir.glob("cycle.*/**/*") if path.is_file()] + list(run_dir.glob("synthesis/*"))
        return {str(path.relative_to(run_dir)): path.read_bytes() for path in paths}

    def latest_stage(self):
        """Where a resumed run goes on."""
        folder = self.run_dir / "checkpoints"
        return json.loads((folder / (folder / "LATEST").read_text().strip() / "state.json").read_text())["stage"]

    def test_each_round_has_its_files_and_learns_from_all_so_far(self):
        seen, num_traces = set(), []
        for round_ in (1, 2, 3):
            folder = self.undisturbed / f"cycle.{round_}"
            traces = harness.json_lines(folder / "traces.jsonl")
            self.assertEqual({f"cycle.{round_}.solve"}, {trace["stage"] for trace in traces})
            # Of a problem that is solved less often than always, too; what was measured is what was sampled.
            self.assertTrue(all(0 < float(trace["solve_rate"]) <= 1 for trace in traces))
            num_traces.append(len(traces))
            self.assertTrue((folder / "model/model.safetensors").exists())
            seen |= {(trace["problem"], " ".join(trace["completion"].split())) for trace in traces}
        (learned,) = self.table(self.undisturbed, ["cycle.3.learn"])
        self.assertEqual("cycle-1-traces cycle-2-traces cycle-3-traces", learned["data_artifact"])
        self.assertLess(len(seen), sum(num_traces), "no trace was written twice: deduplication had nothing to do")

    def test_the_report_has_a_row_for_each_round(self):
        written = harness.grpoctl("report", self.undisturbed)
        self.assertEqual(harness.EXIT_OK, written.returncode, written.stderr)
        report = (self.undisturbed / "report.md").read_text()
        self.assertIn("Rounds of cycle", report)
        rows = [line for line in report.split("Rounds of cycle")[1].splitlines() if line.startswith(("| 1 ", "| 2 ", "| 3 "))]
        self.assertEqual(3, len(rows), report)

    def test_a_kill_in_each_stage_of_two_rounds_repeats_only_what_was_interrupted(self):
        for i, (stage, failpoint) in enumerate(seeded_kills()):
            config, settings = (self.CONFIG, self.SETTINGS) if i == 0 else (None, None)
            with harness.Run(self.run_dir, config, settings, resume=i > 0, failpoints=failpoint) as run:
                self.assertEqual(128 + 9, run.wait(120), run.stderr)
            harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
            # Everything before the stage is done and is not done again.
            self.assertEqual(stage, self.latest_stage())
        self.finish_and_compare()
        self.assertEqual(self.table(self.undisturbed), self.table(self.run_dir))
        self.assertEqual(self.files(self.undisturbed), self.files(self.run_dir))

    def test_rounds_without_a_gain_are_left_out_also_after_a_kill(self):
        # No round gains more than everything.
        settings = self.SETTINGS | {"stages.cycle.repeat.until.min_gain": 2}
        kill = "rollout.submit(cycle.2.measure/)=kill_all@7"
        with harness.Run(self.run_dir, self.CONFIG, settings, failpoints=kill) as run:
            self.assertEqual(128 + 9, run.wait(120), run.stderr)
        harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
        self.run_to_end(self.run_dir, resume=True)
        left_out = {entry["name"] for entry in self.table(self.run_dir) if "left_out" in entry}
        self.assertEqual({f"cycle.3.{stage}" for stage in ("solve", "learn", "practise", "measure")}, left_out)
        ran = ["pretrain"] + [f"cycle.{round_}.{stage}" for round_ in (1, 2) for stage in ("solve", "learn", "practise", "measure")]
        self.assertEqual(self.table(self.undisturbed, ran), self.table(self.run_dir, ran))
        # What comes behind takes the policy as the last round left it.
        (final,) = self.table(self.run_dir, ["final"])
        (measured,) = self.table(self.run_dir, ["cycle.2.measure"])
        self.assertEqual(measured["policy_number"], final["policy_number"])
        self.assertEqual(harness.EXIT_OK, harness.grpoctl("report", self.run_dir).returncode)
        report = (self.run_dir / "report.md").read_text()
        (row,) = [line for line in report.split("Rounds of cycle")[1].splitlines() if line.startswith("| 3 ")]
        self.assertIn("above the round before", row)


if __name__ == "__main__":
    unittest.main()
