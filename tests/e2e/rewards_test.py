"""Reward servers that die, one of two and the only one, and rules of one's own in each of the four ways."""

import json
import os
import shutil
import signal
import subprocess
import unittest
import urllib.error
import urllib.request

import grpc

import harness
from harness import trainer_pb2

EARLY = 10

# What my_rule is in each of its languages (sdk/templates).
PATTERN = r"(?s)^.*<answer>\s*([^<]*?)\s*</answer>\s*$"
YAML_RULE = f"{{type: regex, pattern: '{PATTERN}', value: equals_answer}}"


def pass_at_1(run_dir):
    """Of the last stage."""
    return json.loads((run_dir / "summary.json").read_text())["stages"][-1]["metrics"]["pass_at_1"]


class ServersTest(harness.AgainstUndisturbedRunTest):

    def test_one_of_two_that_is_killed_costs_nothing_and_counts_nothing_twice(self):
        for victim in ("reward-0", "reward-1"):
            run_dir = self.folder / victim
            with harness.Run(run_dir, harness.TINY, {"reward_server.servers": 2, "rollout_worker.workers": 2}) as run:
                for step in (EARLY, EARLY + 15, EARLY + 30):
                    run.wait_for_step("tune", step)
                    os.kill(run.pid_of(victim), signal.SIGKILL)
                self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
                self.assertIn(f"{victim} ended with signal 9", run.stderr)
            # Digit for digit what one server that nobody touched makes of it.
            self.assert_same_results(self.undisturbed, run_dir)

    def kill_the_only_one_and_start_it_again_at(self, second_port):
        port = harness.free_port()
        trainer = self.start(harness.TRAINER, "--run-dir", self.run_dir, "--run-id", "by-hand")
        coordinator = harness.address_in(self.run_dir / "endpoint.json")
        member = ("--coordinator", coordinator, "--name", "reward-0")
        reward_address = f"127.0.0.1:{port}"
        reward = self.start(harness.REWARD_SERVER, "--port", port, *member)
        worker = self.start(harness.ROLLOUT_WORKER, "--coordinator", coordinator)
        with grpc.insecure_channel(coordinator) as channel:

            def status():
                return harness.get_status(channel)

            def tune_step():
                return next(stage.step for stage in status().stages if stage.name == "tune")

            harness.wait_until(lambda: tune_step() >= EARLY, "tune has begun")
            reward.kill()
            reward.wait()
            harness.wait_until(lambda: status().state == trainer_pb2.RUN_STATE_PAUSED, "the run is paused")
            self.assertIn(f"reward server {reward_address}", status().state_reason)
        reward = self.start(harness.REWARD_SERVER, "--port", port if second_port is None else second_port, *member)
        for process in (trainer, worker, reward):
            self.assertEqual(harness.EXIT_OK, process.wait(60))
        self.assert_undisturbed_results()

    def test_the_only_one_that_is_killed_pauses_the_run_with_the_reason_until_it_is_back(self):
        self.kill_the_only_one_and_start_it_again_at(None)

    def test_one_that_comes_back_elsewhere_is_found_there(self):
        self.kill_the_only_one_and_start_it_again_at(0)

    def test_one_that_belongs_to_another_run_is_refused_with_both_names(self):
        self.start(harness.TRAINER, "--run-dir", self.run_dir, "--run-id", "by-hand")
        coordinator = harness.address_in(self.run_dir / "endpoint.json")
        stranger = self.start(harness.REWARD_SERVER, "--coordinator", coordinator, "--run-id", "another")
        self.assertEqual(harness.EXIT_CONFIG, stranger.wait(60))
        log = (self.folder / "reward_server.log").read_text()
        self.assertIn("run_id is another, this coordinator's is by-hand", log)


class ServerProcessTest(harness.EndToEndTest):

    def test_rules_are_loaded_anew_or_stay_and_the_metrics_tell(self):
        config, endpoint, log = self.folder / "rules.yaml", self.folder / "server.json", self.folder / "server.log"
        config.write_text("rewards: {own: {rules: {first: {type: exact}}}}\n")
        command = [harness.REWARD_SERVER, "--config", config, "--port", 0, "--metrics-port", 0, "--endpoint-file", endpoint]
        with log.open("w") as out:
            server = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out)
        for clean_up in (server.wait, server.kill):
            self.addCleanup(clean_up)
        harness.wait_until(endpoint.exists, "the server serves")
        address = json.loads(endpoint.read_text())["metrics"]

        def metrics():
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=harness.CALL_S) as answer:
                return answer.read().decode()

        self.assertIn('grpo_reward_scores_total{profile="own",rule="first",outcome="scored"} 0', metrics())
        # A change that does not load.
        config.write_text("rewards: {own: {rules: {second: {type: exactly}}}}\n")
        harness.wait_until(lambda: "did you mean exact?" in log.read_text(), "the new rules are refused")
        self.assertIn('rule="first"', metrics())
        config.write_text("rewards: {own: {rules: {second: {type: exact}}}}\n")
        harness.wait_until(lambda: 'rule="second"' in metrics(), "the new rules are served")
        # SIGHUP loads also what has not changed.
        loaded = log.read_text().count("anew")
        server.send_signal(signal.SIGHUP)
        harness.wait_until(lambda: log.read_text().count("anew") > loaded, "SIGHUP loads the rules anew")
        with self.assertRaises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://{address}/other", timeout=harness.CALL_S)
        server.send_signal(signal.SIGTERM)
        self.assertEqual(harness.EXIT_OK, server.wait(60))


class OwnRulesTest(harness.AgainstUndisturbedRunTest):

    def train(self, name, rule, more=""):
        """A run of tiny.yaml with `rule` in math_answer's place; its folder."""
        run_dir = self.folder / name
        rules = f"{{my_rule: {rule}, format_tags: {{weight: 0.1}}{more}}}"
        settings = {"rewards.rules_only.rules": rules, "stages.measure.accuracy_rule": "my_rule"}
        self.run_to_end(run_dir, harness.TINY, settings)
        return run_dir

    def copy_program(self):
        folder = self.folder / "program"
        folder.mkdir()
        for file in ("sdk/templates/my_rule.py", "sdk/python/grpo_rule.py"):
            shutil.copy(harness.ROOT / file, folder)
        return folder

    def start_remote(self):
        """The address of a reward server that is no part of the run, with my_rule in YAML alone."""
        config, endpoint = self.folder / "remote.yaml", self.folder / "remote.json"
        config.write_text(f"rewards: {{own: {{rules: {{my_rule: {YAML_RULE}}}}}}}\n")
        command = [harness.REWARD_SERVER, "--config", config, "--port", "0", "--endpoint-file", endpoint]
        server = subprocess.Popen([str(word) for word in command])
        for clean_up in (server.wait, server.kill):
            self.addCleanup(clean_up)
        harness.wait_until(endpoint.exists, "the remote server serves")
        return json.loads(endpoint.read_text())["address"]

    def assert_same_weights(self, expected_dir, run_dir):
        """The same reward of every completion makes the same weights, to the last bit."""
        models = list(expected_dir.glob("models/*/*"))
        self.assertTrue(models)
        for path in models:
            self.assertEqual(path.read_bytes(), (run_dir / path.relative_to(expected_dir)).read_bytes(), path)
        self.assertEqual(pass_at_1(expected_dir), pass_at_1(run_dir))

    def test_a_rule_teaches_the_same_in_each_way_that_it_can_be_written(self):
        folder = self.copy_program()
        ways = {
            "yaml": YAML_RULE,
            "python": f'{{type: program, command: [/usr/bin/python3, my_rule.py], folder: {folder}, version: "1"}}',
            "cpp": f'{{type: program, command: [{harness.MY_RULE_CPP}], version: "1"}}',
            "remote": f'{{type: remote, address: "{self.start_remote()}", profile: own}}',
        }
        runs = {name: self.train(name, rule) for name, rule in ways.items()}
        rewards = {record["rewards/my_rule/mean"] for record in harness.records(runs["yaml"]) if record["stage"] == "tune"}
        # Rules that never pay are all alike.
        self.assertGreater(len(rewards), 2)
        for name in ("python", "cpp", "remote"):
            with self.subTest(name):
                self.assert_same_weights(runs["yaml"], runs[name])

    def test_a_compiled_rule_of_the_same_meaning_teaches_what_the_built_in_one_does(self):
        run_dir = self.train("compiled", "{type: exact}", ", math_answer: {weight: 0}")
        differ = []
        for row in harness.completions(run_dir):
            rules = json.loads(row["rules"])
            exact, by_meaning = rules["my_rule"]["value"], rules["math_answer"]["value"]
            self.assertAlmostEqual(exact + 0.1 * rules["format_tags"]["value"], row["reward"], msg=row)
            if exact != by_meaning:
                # The right number in other letters, which a policy may come to write.
                self.assertEqual((0, 1), (exact, by_meaning), row)
                self.assertNotEqual(row["answer"], rules["my_rule"]["extracted"].strip(), row)
                differ.append(row)
        if not differ:
            self.assert_same_weights(self.undisturbed, run_dir)


class TenMinutesTest(harness.EndToEndTest):
    """The commands of docs/custom-rewards.md, as a reader types them."""

    def test_a_skeleton_passes_its_test_and_scores(self):
        line = '{"completion":"<think>3*4</think><answer>12</answer>","answer":"12"}\n'
        for way in ("yaml", "python"):
            with self.subTest(way=way):
                folder = self.folder / way
                new = harness.grpoctl("reward", "new", "my_rule", "--as", way, "--folder", folder)
                self.assertEqual(harness.EXIT_OK, new.returncode, new.stderr)
                tested = harness.grpoctl("reward", "test", "--config", folder / "my_rule.yaml")
                self.assertEqual(harness.EXIT_OK, tested.returncode, tested.stdout + tested.stderr)
                scored = harness.grpoctl("reward", "score", "--config", folder / "my_rule.yaml", stdin=line)
                self.assertEqual(1.1, json.loads(scored.stdout)["value"], scored.stderr)

    def test_every_way_writes_its_files_and_says_what_is_next(self):
        for way in ("cpp", "remote", "compiled"):
            new = harness.grpoctl("reward", "new", "my_rule", "--as", way, "--folder", self.folder / way)
            self.assertEqual(harness.EXIT_OK, new.returncode, new.stderr)
            self.assertTrue(any((self.folder / way).iterdir()))

    def test_the_audit_counts_answers_that_the_rules_cannot_read(self):
        audited = harness.grpoctl("reward", "audit", "--config", harness.QUICKSTART, "--profile", "r1_zero")
        self.assertEqual(harness.EXIT_OK, audited.returncode, audited.stderr)
        counts = {line["data"]: line for line in map(json.loads, audited.stdout.splitlines())}
        counted = {"data": "held_out", "rewards": "r1_zero", "num_answers": 234, "num_unreadable": 0}
        self.assertEqual(counted, counts["held_out"])
        self.assertIn("nothing to audit yet", audited.stderr)


if __name__ == "__main__":
    unittest.main()
