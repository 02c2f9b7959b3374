"""Prompts that kill their workers, against a real trainer: the test plays a worker that dies of them."""

import json
import signal
import subprocess
import unittest

import grpc

import harness
from harness import coordinator_pb2, trainer_pb2, types_pb2


# A token for each character.
TOKENIZER = harness.ROOT / "configs/tokenizers/chickens_rabbits.json"
VOCABULARY = json.loads(TOKENIZER.read_text())["model"]["vocab"]


class MortalWorker:
    """Hands in whatever it is asked for, but dies of some groups and is started again at once. Samples nothing."""

    def __init__(self, address, poison=(), withheld=()):
        self._channel = grpc.insecure_channel(address)
        self._stub = harness.coordinator_pb2_grpc.CoordinatorStub(self._channel)
        self._poison, self._withheld = set(poison), set(withheld)
        self._attempt = 0
        self._seen = []
        self.deaths = []
        self._register()

    def close(self):
        self._channel.close()

    def _register(self):
        self._attempt += 1
        request = coordinator_pb2.RegisterRequest(
            protocol_version=1, role="rollout_worker", worker_name="mortal", worker_attempt=self._attempt
        )
        self._id = self._stub.Register(request, timeout=harness.CALL_S).worker_id

    def work(self):
        """Asks for work once and does it; false when the run has ended."""
        request = coordinator_pb2.LeaseGroupsRequest(worker_id=self._id, max_groups=8, max_completions=8, wait_ms=50)
        response = self._stub.LeaseGroups(request, timeout=harness.CALL_S)
        for lease in response.leases:
            group = (lease.key.stage, lease.key.group_index)
            self._seen.append(group)
            if group in self._poison:
                self.deaths.append(group)
                self._register()
                break
            if group not in self._withheld:
                self._submit(lease)
        return not response.run_ended

    def saw(self, group):
        return group in self._seen

    def _digest(self, policy):
        call = self._stub.PullWeights(coordinator_pb2.PullWeightsRequest(policy=policy), timeout=harness.CALL_S)
        digest = next(call).manifest.digest
        call.cancel()
        return digest

    def _submit(self, lease):
        count = lease.sampling.num_completions
        header = coordinator_pb2.SubmitHeader(
            worker_id=self._id,
            key=lease.key,
            policy_digest=self._digest(lease.policy),
            prompt_ids=[VOCABULARY[character] for character in lease.prompt.text],
            num_completions=count,
        )
        messages = [coordinator_pb2.SubmitCompletionRequest(header=header)]
        span = types_pb2.Span(
            num_tokens=2, policy_number=lease.policy.number, source=types_pb2.SPAN_SOURCE_POLICY, trainable=True
        )
        for index in range(count):
            rule = types_pb2.RuleScore(name="math_answer", outcome=types_pb2.OUTCOME_SCORED, value=index % 2, weight=1)
            completion = types_pb2.Completion(
                index=index,
                ids=[4 + index, 5 + lease.key.group_index],
                text=b"xy",
                sample_logprob=[-1, -1],
                logprob_kind=types_pb2.LOGPROB_KIND_FULL,
                spans=[span],
                finish_reason=types_pb2.FINISH_REASON_LENGTH,
            )
            score = types_pb2.Score(outcome=types_pb2.OUTCOME_SCORED, value=index % 2, rules=[rule])
            scored = types_pb2.ScoredCompletion(completion=completion, score=score)
            messages.append(coordinator_pb2.SubmitCompletionRequest(completion=scored))
        self._stub.SubmitCompletion(iter(messages), timeout=harness.CALL_S)


class QuarantineTest(harness.EndToEndTest):

    def start_trainer(self, run_dir, resume=False):
        """A trainer on this folder and its address."""
        endpoint = run_dir / "endpoint.json"
        # Of a trainer that was killed.
        endpoint.unlink(missing_ok=True)
        log = (self.folder / f"{run_dir.name}.{'resumed' if resume else 'first'}.log").open("w+")
        command = [harness.TRAINER, "--config", harness.ROOT / "tests/e2e/quarantine.yaml", "--run-dir", run_dir]
        command += ["--run-id", "by-hand"] + (["--resume"] if resume else [])
        trainer = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        for clean_up in (log.close, trainer.wait, trainer.kill):
            self.addCleanup(clean_up)
        return trainer, harness.address_in(endpoint)

    def worker(self, address, **script):
        worker = MortalWorker(address, **script)
        self.addCleanup(worker.close)
        return worker

    def work_to_end(self, worker, trainer):
        harness.wait_until(lambda: not worker.work(), "the run ends")
        self.assertEqual(harness.EXIT_OK, trainer.wait(60))

    def test_the_run_goes_on_without_prompts_that_kill_two_workers_each(self):
        run_dir = self.folder / "run"
        trainer, address = self.start_trainer(run_dir)
        # Nothing is left of the second step.
        poison = [("tune", 2), ("tune", 3), ("measure", 0)]
        worker = self.worker(address, poison=poison)
        with grpc.insecure_channel(address) as channel:

            def paused():
                worker.work()
                status = harness.get_status(channel)
                return status if status.state == trainer_pb2.RUN_STATE_PAUSED else None

            status = harness.wait_until(paused, "the third quarantine pauses the run")
            self.assertIn("coordinator.max_quarantined_groups is 2", status.state_reason)
            self.assertIn("grpoctl resume", status.state_reason)
            self.assertEqual(3, status.leases.num_quarantined_total)
            harness.trainer_pb2_grpc.TrainerServiceStub(channel).Resume(trainer_pb2.ResumeRequest(), timeout=harness.CALL_S)
        self.work_to_end(worker, trainer)

        # The first worker held both of the second step's groups and died of one; each then killed one alone.
        self.assertEqual([("tune", 2), *poison[:2], *poison[2:] * 2], worker.deaths)
        lines = [json.loads(line) for line in (run_dir / "quarantine.jsonl").read_text().splitlines()]
        self.assertEqual(poison, [(line["stage"], line["group_index"]) for line in lines])
        self.assertEqual(["mortal.1@1", "mortal.2@1"], lines[0]["workers"])
        self.assertEqual(["mortal.1@1", "mortal.3@1"], lines[1]["workers"])
        self.assertTrue(all(line["prompt"] for line in lines))
        summary = json.loads((run_dir / "summary.json").read_text())
        self.assertEqual(2, summary["stages"][0]["policy_number"])
        first, empty, third, measure = harness.records(run_dir)
        for record in (first, third):
            self.assertNotIn("num_quarantined_groups", record)
            self.assertIn("loss", record)
        self.assertEqual("2.0", empty["num_quarantined_groups"])
        self.assertNotIn("loss", empty)
        self.assertEqual(("1.0", "1.0"), (measure["num_problems"], measure["num_quarantined_groups"]))
        self.assertEqual("0.5", measure["pass_at_1"])
        self.assertNotIn("null", (run_dir / "metrics.jsonl").read_text())

    def test_a_resumed_run_leaves_the_same_prompts_out_and_nobody_dies_again(self):
        poison = [("tune", 2)]
        trainer, address = self.start_trainer(self.folder / "undisturbed")
        self.work_to_end(self.worker(address, poison=poison), trainer)

        run_dir = self.folder / "disturbed"
        trainer, address = self.start_trainer(run_dir)
        worker = self.worker(address, poison=poison, withheld=[("tune", 3)])
        quarantined = run_dir / "quarantine.jsonl"
        harness.wait_until(lambda: worker.work() and quarantined.exists(), "the prompt is quarantined")
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
        trainer, address = self.start_trainer(run_dir, resume=True)
        worker = self.worker(address, poison=poison)
        self.work_to_end(worker, trainer)
        self.assertTrue(worker.saw(("tune", 3)))
        self.assertFalse(worker.saw(("tune", 2)))
        self.assertEqual(1, len(quarantined.read_text().splitlines()))
        self.assertEqual(harness.records(self.folder / "undisturbed"), harness.records(run_dir))


if __name__ == "__main__":
    unittest.main()
