"""Synthesize, learn from it, measure: what is written, and what a kill in each of these stages changes: nothing."""

import collections
import json
import random
import unittest

import harness

# In each stage, far enough from its ends: (failpoint, part of its state, hit). Each process counts from its start.
KILLS = {
    "pretrain": ("trainer.phase", "rank 0: optimizer", 120),
    "write": ("rollout.decode", "policy teacher:", 700),
    "copy": ("trainer.phase", "rank 0: optimizer", 30),
    "measure": ("rollout.decode", "policy student:", 40),
}


# Those in which a teacher looks on, and their steps: each is killed at five seeded points.
WHITE_BOX = {"soften": 40, "liken": 40, "correct": 20}
CHECKPOINT_EVERY = 10


def seeded_kills(updates_before):
    """(stage, failpoint) of each kill. A process counts its updates from its start: what is left of the stage before, `updates_before`
    of the first one, then its own. Each goes on from the newest checkpoint."""
    for stage, num_steps in WHITE_BOX.items():
        start = 0
        for step in sorted(random.Random(stage).sample(range(2, num_steps), 5)):
            yield stage, ("trainer.phase", "rank 0: optimizer", updates_before + step - start)
            start, updates_before = (step - 1) // CHECKPOINT_EVERY * CHECKPOINT_EVERY, 0
        updates_before = num_steps - start


class DistillTest(harness.AgainstUndisturbedRunTest):
    CONFIG = harness.DISTILL
    SETTINGS = {"checkpoint.every_steps": CHECKPOINT_EVERY}

    @staticmethod
    def report(run_dir, stage):
        """The stage's entry in summary.json, without times and what else it took."""
        (entry,) = [dict(entry) for entry in DistillTest.stages(run_dir) if entry["name"] == stage]
        entry.pop("seconds")
        entry.pop("spent")
        entry.pop("exported_to", None)
        entry["metrics"] = {name: value for name, value in entry["metrics"].items() if name not in harness.TIMINGS}
        return entry

    def test_traces_are_right_and_different_and_say_where_they_come_from(self):
        traces = harness.json_lines(self.undisturbed / "out/traces.jsonl")
        self.assertGreater(len(traces), 20)
        pairs = collections.Counter((trace["problem"], trace["completion"]) for trace in traces)
        self.assertEqual({1}, set(pairs.values()))
        self.assertLessEqual(max(collections.Counter(trace["problem"] for trace in traces).values()), 2)
        self.assertEqual(len(traces), len({trace["id"] for trace in traces}))
        for trace in traces:
            self.assertEqual(("teacher", "200", "write"), (trace["policy"], trace["policy_number"], trace["stage"]))
        self.assertEqual([], [trace for trace in traces if not self.is_right(trace)])
        # The rules say so too: an answer may be spelled in more ways than one, such as with a blank before it.
        lines = "".join(json.dumps({"completion": trace["completion"], "answer": trace["answer"]}) + "\n" for trace in traces)
        scored = harness.grpoctl("reward", "score", "--config", self.CONFIG, "--profile", "rules_only", stdin=lines)
        self.assertEqual(harness.EXIT_OK, scored.returncode, scored.stderr)
        scores = [json.loads(line) for line in scored.stdout.splitlines()]
        self.assertEqual([1.1] * len(traces), [score["value"] for score in scores])

    @staticmethod
    def is_right(trace):
        """The last answer is a number that is the reference's; what no number in digits is, the rules alone can read."""
        answer = trace["completion"].rpartition("<answer>")[2].partition("</answer>")[0].strip()
        return not answer.isdecimal() or int(answer) == int(trace["answer"])

    def test_every_sample_is_accounted_for(self):
        kept, rejected = self.select_again(row for row in harness.completions(self.undisturbed) if row["stage"] == "write")
        metrics = self.report(self.undisturbed, "write")["metrics"]
        self.assertEqual(metrics["num_samples"], 8 * metrics["num_problems"])
        self.assertEqual(metrics["num_samples"], len(kept) + sum(rejected.values()))
        reported = {name.removeprefix("rejected/"): number for name, number in metrics.items() if name.startswith("rejected/")}
        self.assertEqual(dict(rejected), {reason: number for reason, number in reported.items() if number > 0})
        self.assertGreater(rejected["wrong"], 0)
        traces = harness.json_lines(self.undisturbed / "out/traces.jsonl")
        self.assertEqual(kept, [(trace["problem"], trace["completion"]) for trace in traces])

    @staticmethod
    def select_again(rows):
        """What becomes of these samples by the rules of trainer/stage/traces.h: those kept, and how many were rejected why."""
        kept, rejected = [], collections.Counter()
        of_group = collections.Counter()
        for row in rows:
            rules, text = json.loads(row["rules"]), row["completion"]
            reason = None
            if row["finish_reason"] != "stop":
                reason = "unfinished"
            elif rules["math_answer"]["value"] < 1:
                reason = "wrong"
            elif rules["format_tags"]["value"] < 1:
                reason = "malformed"
            elif (row["prompt"], text) in kept:
                reason = "duplicate"
            elif of_group[row["group_index"]] == 2:
                reason = "over_cap"
            if reason:
                rejected[reason] += 1
            else:
                of_group[row["group_index"]] += 1
                kept.append((row["prompt"], text))
        return kept, rejected

    def test_the_student_learns_from_them(self):
        losses = [float(record["loss"]) for record in harness.records(self.undisturbed) if record["stage"] == "copy"]
        self.assertEqual(60, len(losses))
        self.assertLess(losses[-1], losses[0] / 2)

    def test_soft_labels_features_and_the_teachers_corrections_are_learned(self):
        records = harness.records(self.undisturbed)
        for stage, metric in (("soften", "divergence/forward_kl"), ("liken", "feature_mse"), ("correct", "divergence/jensen_shannon")):
            values = [float(record[metric]) for record in records if record["stage"] == stage]
            self.assertEqual(WHITE_BOX[stage], len(values))
            self.assertLess(sum(values[-5:]), sum(values[:5]), stage)
        # A mean over tokens whose weights sum to 1, to rounding.
        temperatures = [round(float(record["distill_temperature"]), 5) for record in records if record["stage"] == "soften"]
        self.assertEqual(3, temperatures[0])
        self.assertEqual(temperatures, sorted(temperatures, reverse=True))
        self.assertEqual(1, temperatures[-1])
        # Sampled by the student, taught beside by traces: what was sampled agrees, and the rules' reward is there.
        corrected = [record for record in records if record["stage"] == "correct"]
        self.assertLess(max(float(record["logprob_abs_diff_max"]) for record in corrected), 1e-4)
        self.assertIn("reward", corrected[0])

    def test_a_kill_in_any_stage_repeats_only_what_was_interrupted(self):
        kills = list(KILLS.items())
        # The kill in `copy`, which has 60 steps, is in its step 30.
        white_box = list(seeded_kills(updates_before=60 - 20))
        for i, (stage, (point, state, hit)) in enumerate(kills[:-1] + white_box + kills[-1:]):
            failpoints = f"{point}({state})=kill_all@{hit}"
            config, settings = (self.CONFIG, self.SETTINGS) if i == 0 else (None, None)
            with harness.Run(self.run_dir, config, settings, resume=i > 0, failpoints=failpoints) as run:
                self.assertEqual(128 + 9, run.wait(120), run.stderr)
            harness.wait_until(lambda: not harness.processes_of(self.run_dir), "the children died with grpoctl")
            self.assertEqual(stage, json.loads(self.latest_state())["stage"])
            if stage == "write":
                kept = (self.run_dir / "synthesis/write.jsonl").read_bytes()
                self.assertGreater(kept.count(b"\n"), 30)
        self.finish_and_compare()
        self.assertTrue((self.run_dir / "synthesis/write.jsonl").read_bytes().startswith(kept[: kept.rfind(b"\n") + 1]))
        for path in ("out/traces.jsonl", "synthesis/write.jsonl"):
            self.assertEqual((self.undisturbed / path).read_bytes(), (self.run_dir / path).read_bytes())
        for stage in {**KILLS, **WHITE_BOX}:
            self.assertEqual(self.report(self.undisturbed, stage), self.report(self.run_dir, stage))
            # What the killed start took counts, and what was done again counts twice. (Of `write`, a kill forgets the newest seconds.)
            (once,), (again,) = ([entry for entry in self.stages(run) if entry["name"] == stage] for run in (self.undisturbed, self.run_dir))
            self.assertEqual(1, once["spent"]["starts"])
            self.assertGreaterEqual(again["spent"]["starts"], 2)
            if once["type"] == "train":
                self.assertGreaterEqual(again["spent"]["tokens"], once["spent"]["tokens"])

    @staticmethod
    def stages(run_dir):
        return json.loads((run_dir / "summary.json").read_text())["stages"]

    def latest_state(self):
        """state.json of the newest checkpoint: what a resumed run goes on from."""
        folder = self.run_dir / "checkpoints"
        return (folder / (folder / "LATEST").read_text().strip() / "state.json").read_text()

    def test_traces_that_changed_after_they_were_written_are_refused(self):
        with harness.Run(self.run_dir, self.CONFIG, self.SETTINGS, failpoints="trainer.phase(rank 0: optimizer)=kill_all@230") as run:
            self.assertEqual(128 + 9, run.wait(120), run.stderr)
        traces = self.run_dir / "out/traces.jsonl"
        traces.write_text(traces.read_text().replace("<answer>", "<answer>1", 1))
        with harness.Run(self.run_dir, resume=True) as run:
            self.assertEqual(harness.EXIT_DATA, run.wait(60))
            self.assertIn("data.traces has changed", run.stderr)


if __name__ == "__main__":
    unittest.main()
