"""What users get wrong: an exit code that says which kind, a message that says what and where, and nothing harmed."""

import hashlib
import json
import os
import socket
import unittest

import harness

OWN = harness.ROOT / "tests/e2e/own.yaml"
GOOD_LINE = '{"problem": "H2 L6", "answer": "1"}\n'


class BadInputTest(harness.EndToEndTest):

    def setUp(self):
        super().setUp()
        self.run_dir = self.folder / "run"

    def assert_refused(self, code, *arguments, says):
        """The call ends with this code and says all of this."""
        result = harness.grpoctl(*arguments)
        self.assertEqual(code, result.returncode, result.stderr)
        self.assertEqual("", result.stdout)
        for text in says:
            self.assertIn(str(text), result.stderr)
        self.assertNotRegex(result.stderr, r"terminate called|what\(\)|Check failed|Segmentation|Traceback|signal \d")

    def assert_run_refused(self, code, config, *overrides, says):
        """`run` refuses before it starts anything or writes a run folder."""
        sets = [word for override in overrides for word in ("--set", override)]
        self.assert_refused(code, "run", config, "--run-dir", self.run_dir, *sets, says=says)
        self.assertFalse(self.run_dir.exists())

    def assert_run_fails(self, code, config, *overrides, says):
        """`run` finds out when its processes look closer."""
        sets = [word for override in overrides for word in ("--set", override)]
        self.assert_refused(code, "run", config, "--run-dir", self.run_dir, *sets, says=[*says, self.run_dir / "logs"])

    def problems(self, *lines):
        path = self.folder / "problems.jsonl"
        path.write_text("".join(lines))
        return path

    def taken_port(self):
        holder = socket.socket()
        self.addCleanup(holder.close)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        return holder.getsockname()[1]

    def test_misspelt_key(self):
        text = harness.TINY.read_text().replace("../..", str(harness.ROOT)).replace("group_size:", "group_sise:")
        config = self.folder / "misspelt.yaml"
        config.write_text(text)
        line = 1 + text[: text.index("group_sise:")].count("\n")
        self.assert_run_refused(
            harness.EXIT_CONFIG,
            config,
            says=[f"{config}:{line}: stages.1.group_sise", "unknown key", "did you mean group_size?"],
        )
        self.assert_refused(harness.EXIT_CONFIG, "validate", config, says=[f"{config}:{line}: stages.1.group_sise"])

    def test_missing_configuration(self):
        config = self.folder / "nowhere.yaml"
        self.assert_run_refused(harness.EXIT_NO_INPUT, config, says=[config, "No such file"])

    def test_bad_overrides(self):
        for override, says in {
            "stages.tune": ["KEY=VALUE"],
            "stages.tune.stepz=3": ["stages.1.stepz: unknown key; did you mean steps?"],
            "stages.tume.steps=3": ["no element tume", "pretrain, tune, measure"],
            "stages.tune.steps=many": ["stages.1.steps: is many; write a whole number"],
            "stages.tune.steps=0": ["stages.1.steps: is 0; it must be between 1 and"],
            "stages.tune.policy=tunde": ["stages.1.policy: there is no policies.tunde; did you mean tuned?"],
            "stages.tune.algorithm=grop": ["there is no algorithm grop; did you mean grpo?"],
        }.items():
            with self.subTest(override):
                self.assert_run_refused(harness.EXIT_CONFIG, harness.TINY, override, says=[f"--set {override}", *says])

    def test_missing_files_that_the_configuration_names(self):
        for config, override in {
            OWN: "data.problems.path=/nowhere/problems.jsonl",
            harness.TINY: "policies.base.random_init.tokenizer=/nowhere/tokenizer.json",
            harness.OWN_PROBLEMS: "policies.base.path=/nowhere/base",
        }.items():
            with self.subTest(override):
                key, path = override.split("=")
                self.assert_run_refused(harness.EXIT_NO_INPUT, config, override, says=[f"--set {override}", key, path])

    def test_lines_that_are_no_problems(self):
        for line, says in {
            '{"problem": "H2 L6", answer: 1}\n': ["is not JSON", "skip_bad_lines"],
            '["H2 L6", 1]\n': ["JSON but no object"],
            '{"problem": "H2 L6"}\n': ['no field "answer"', "answer_field"],
        }.items():
            with self.subTest(line):
                path = self.problems(GOOD_LINE, line)
                says += [f"{path}:2: ", "Mend the line"]
                self.assert_run_refused(harness.EXIT_DATA, OWN, f"data.problems.path={path}", says=says)

    def test_prompt_longer_than_the_context(self):
        path = self.problems(GOOD_LINE, GOOD_LINE.replace("H2", "H" + "2" * 100))
        self.assert_run_refused(
            harness.EXIT_CONFIG,
            OWN,
            f"data.problems.path={path}",
            says=["problem line/2 has 109 tokens", "between 1 and 64", "rollout_worker.context_tokens"],
        )

    def test_prompt_outside_the_vocabulary(self):
        path = self.problems(GOOD_LINE, GOOD_LINE.replace("H2", "Z2"))
        says = ["problem line/2", 'no token for the character "Z"']
        self.assert_run_refused(harness.EXIT_CONFIG, OWN, f"data.problems.path={path}", says=says)

    def random_policy(self, tokenizer=harness.ROOT / "configs/tokenizers/chickens_rabbits.json", **sizes):
        """An entry of `policies` with random weights, small but for `sizes`."""
        small = {"hidden_size": 16, "intermediate_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}
        return json.dumps({"random_init": {"tokenizer": str(tokenizer), **small, **sizes}})

    def assert_distillation_refused(self, code, *overrides, says):
        """By `validate` and by `run`, before anything starts."""
        sets = [word for override in overrides for word in ("--set", override)]
        self.assert_refused(code, "validate", harness.DISTILL, *sets, says=says)
        self.assert_run_refused(code, harness.DISTILL, *overrides, says=says)

    def test_shares_temperatures_and_layers_that_do_not_exist(self):
        for override, says in {
            "stages.soften.alpha.start=1.5": ["stages.3.alpha.start: is 1.5; it must be between 0 and 1"],
            "stages.soften.teachers.0.temperature.start=0": [
                "stages.3.teachers.0.temperature.start: is 0; it must be between 0.01 and 1000"
            ],
            "stages.liken.features.pairs=[{student: 1, teacher: 9}]": [
                "stage liken: features.pairs.0.teacher is 9, and the teacher has 2 layers",
                "name one of them",
            ],
        }.items():
            with self.subTest(override):
                self.assert_distillation_refused(harness.EXIT_CONFIG, override, says=says)

    def test_a_teacher_with_another_vocabulary(self):
        path = self.folder / "other.json"
        model = {"type": "BPE", "vocab": {"a": 0, "<eos>": 1}, "merges": []}
        path.write_text(json.dumps({"decoder": {"type": "Fuse"}, "model": model}))
        self.assert_distillation_refused(
            harness.EXIT_CONFIG,
            f"policies.other={self.random_policy(path)}",
            "stages.soften.teachers=[{policy: other}]",
            says=["stage soften: token", "policies.other", "the tokenizer of policies.softened", "traces", "algorithm: sft"],
        )

    def test_a_teacher_larger_than_memory(self):
        giant = self.random_policy(hidden_size=65536, intermediate_size=65536, num_layers=1000, num_heads=1024)
        self.assert_distillation_refused(
            harness.EXIT_FAILED,
            f"policies.giant={giant}",
            "stages.soften.teachers=[{policy: giant}]",
            says=["stage soften needs at least", "policies.giant (stages.soften.teachers.0.policy)", "GiB", "teacher_top_k"],
        )

    def test_a_divergence_that_does_not_exist(self):
        says = ["stage soften", "there is no divergence forward_lk; did you mean forward_kl?"]
        override = "stages.soften.divergence.type=forward_lk"
        self.assert_run_fails(harness.EXIT_CONFIG, harness.DISTILL, override, says=says)
        self.assertFalse((self.run_dir / "checkpoints").exists() and any((self.run_dir / "checkpoints").iterdir()))

    def with_a_later_stage(self, later):
        """A run on problems.jsonl whose second stage reads `later`."""
        self.problems(GOOD_LINE, GOOD_LINE)
        head, _, stages = OWN.read_text().replace("../..", str(harness.ROOT)).partition("stages:")
        config = self.folder / "later.yaml"
        config.write_text(
            f"{head.replace('rewards:', f'  later: {{path: {later}}}{chr(10)}{chr(10)}rewards:')}stages:{stages}\n"
            "  - {name: measure, type: evaluate, policy: small, data: later, rewards: rules_only, samples_per_problem: 1, "
            "sampling: {max_new_tokens: 8}}\n"
        )
        return config

    def test_references_that_cannot_be_read_are_counted_and_too_many_are_refused(self):
        # Prose in place of answers, which no rule can read.
        unread = GOOD_LINE.replace('"1"', '"\\\\frac{"')
        later = self.folder / "later.jsonl"
        config = self.with_a_later_stage(later)
        later.write_text(GOOD_LINE * 3 + unread)
        says = ["stage measure: the rules of rewards.rules_only cannot read 1 of the 4", "line/4", "reward audit"]
        self.assert_run_refused(harness.EXIT_CONFIG, config, says=says)
        self.assert_refused(harness.EXIT_CONFIG, "validate", config, says=says)
        later.write_text(GOOD_LINE * 99 + unread)
        shown = harness.grpoctl("validate", config)
        self.assertEqual(harness.EXIT_OK, shown.returncode, shown.stderr)
        self.assertRegex(shown.stdout, r"measure +later +100 +\d+ +1 of 100")
        counted = "stage measure: 1 of 100 reference answers of data.later cannot be read"
        self.assertIn(counted, shown.stderr)
        with harness.Run(self.run_dir, config) as run:
            harness.wait_until(lambda: counted in run.stderr, "the terminal says so")

    def test_what_a_later_stage_needs_is_checked_first_and_data_that_none_has_read_may_be_mended(self):
        # What only a late stage reads.
        later = self.folder / "later.jsonl"
        config = self.with_a_later_stage(later)
        later.write_text(GOOD_LINE + GOOD_LINE.replace("H2", "H" + "2" * 400) + GOOD_LINE)
        says = ["stage measure: the prompt of problem line/2 has 404 tokens", "between 1 and 64"]
        self.assert_run_refused(harness.EXIT_CONFIG, config, says=says)
        later.write_text(GOOD_LINE * 2)
        with harness.Run(self.run_dir, config, {"stages.tune.steps": 40}) as run:
            run.wait_for_step("tune", 2)
            harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, run.wait())
        read = self.problems(GOOD_LINE)
        again = ("run", "--resume", "--run-dir", self.run_dir)
        says = ["data.problems has changed since stage tune read it", "put the old content back", "--run-dir DIR"]
        self.assert_refused(harness.EXIT_DATA, *again, says=says)
        read.write_text(GOOD_LINE * 2)
        later.write_text(GOOD_LINE * 3)
        with harness.Run(self.run_dir, resume=True) as run:
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        changes = json.loads((self.run_dir / "data.json").read_text())["changes"]
        hashes = [hashlib.sha256((GOOD_LINE * count).encode()).hexdigest() for count in (2, 3)]
        self.assertEqual([{"data": "later", "old_sha256": hashes[0], "new_sha256": hashes[1]}], changes)
        self.assertIn(f"its SHA-256 was {hashes[0]}", (self.run_dir / "logs/trainer.log").read_text())

    def test_listening_for_everybody_with_a_token_that_would_cross_the_network_in_the_clear(self):
        token = self.folder / "token"
        token.write_text("sesame")
        token.chmod(0o600)
        says = ["0.0.0.0", "tls_cert", "127.0.0.1"]
        overrides = ("network.host=0.0.0.0", f"network.token_file={token}")
        self.assert_run_fails(harness.EXIT_CONFIG, harness.TINY, *overrides, says=says)

    def test_port_in_use(self):
        for key in ("network.trainer_port", "reward_server.port"):
            with self.subTest(key):
                port = self.taken_port()
                self.run_dir = self.folder / key
                says = [f"another process listens on 127.0.0.1:{port}"]
                self.assert_run_fails(harness.EXIT_CANNOT_CREATE, harness.TINY, f"{key}={port}", says=says)

    def test_folder_that_holds_something_else(self):
        self.run_dir.mkdir()
        (self.run_dir / "thesis.txt").write_text("mine")
        says = [self.run_dir, "not empty", "--run-dir DIR"]
        self.assert_refused(harness.EXIT_CANNOT_CREATE, "run", harness.TINY, "--run-dir", self.run_dir, says=says)
        self.assertEqual(["thesis.txt"], [path.name for path in self.run_dir.iterdir()])

    def test_a_run_folder_whose_name_is_not_utf8(self):
        self.run_dir = self.folder / os.fsdecode(b"b\xff")
        self.assert_run_refused(harness.EXIT_CONFIG, harness.TINY, says=["--run-dir", r"b\xff is not UTF-8"])

    def test_folder_that_holds_a_run(self):
        with harness.Run(self.run_dir, harness.TINY) as run:
            run.wait_for_step("tune", 5)
            harness.grpoctl("pause", "--run-dir", self.run_dir)
            again = ("run", harness.TINY, "--run-dir", self.run_dir)
            says = ["a run is going on", f"pid {run.pid}", "grpoctl watch"]
            self.assert_refused(harness.EXIT_CANNOT_CREATE, *again, says=says)
            harness.grpoctl("stop", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, run.wait())
        says = ["unfinished run", f"grpoctl run --resume --run-dir {self.run_dir}", "start afresh"]
        self.assert_refused(harness.EXIT_CANNOT_CREATE, *again, says=says)

    def test_run_folder_that_cannot_be_one(self):
        taken = self.folder / "a_file"
        taken.touch()
        for run_dir in (taken, taken / "below", "/dev/null/x", self.folder / ("x" * 256)):
            with self.subTest(run_dir):
                says = [run_dir]
                self.assert_refused(harness.EXIT_CANNOT_CREATE, "run", harness.TINY, "--run-dir", run_dir, says=says)

    def test_verbs_without_a_run(self):
        nowhere = self.folder / "nowhere"
        for verb in ("status", "watch", "pause", "resume", "checkpoint", "stop", "health", "logs"):
            with self.subTest(verb):
                self.assert_refused(harness.EXIT_NO_INPUT, verb, "--run-dir", nowhere, says=[nowhere])
        says = ["no run to resume", nowhere]
        self.assert_refused(harness.EXIT_NO_INPUT, "run", "--resume", "--run-dir", nowhere, says=says)
        address = f"127.0.0.1:{self.taken_port()}"
        says = [f"no trainer answers at {address}"]
        self.assert_refused(harness.EXIT_UNAVAILABLE, "status", "--address", address, "--deadline", "0.5", says=says)


if __name__ == "__main__":
    unittest.main()
