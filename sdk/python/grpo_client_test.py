"""The Python client against a trainer in this process, which speaks the same contracts."""

import concurrent.futures
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import grpc

HERE = pathlib.Path(__file__).resolve().parent
# As the build makes it: in the runfiles under Bazel, else in bazel-bin.
CLIENT = (
    pathlib.Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"]) if "TEST_SRCDIR" in os.environ else HERE.parents[1] / "bazel-bin"
) / "sdk/grpo_client.py"


def load(path):
    spec = importlib.util.spec_from_file_location("grpo_client", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["grpo_client"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


grpo_client = load(CLIENT)
CONTRACTS = grpo_client._Contracts()
RUNNING, PAUSED, STOPPING, FINISHED = 2, 3, 4, 5


class FakeTrainer(grpc.GenericRpcHandler):
    """Answers as a trainer does, and notes what it was asked. `refuse` is the code of every answer, if any."""

    def __init__(self, token=None):
        self.token = token
        self.refuse = None
        self.asked = []
        self.watched = [RUNNING, RUNNING, FINISHED]

    def service(self, details):
        method = details.method.rpartition("/")[2]
        request_class, answer_class = CONTRACTS.ends_of(method)

        def check(context):
            if self.token is not None and ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong")
            if self.refuse is not None:
                context.abort(*self.refuse)

        def unary(request, context):
            check(context)
            self.asked.append((method, getattr(request, "reason", "")))
            return self.answer(method, answer_class)

        def stream(request, context):
            check(context)
            self.asked.append((method, request.min_interval_ms))
            for step, state in enumerate(self.watched):
                yield self.snapshot(answer_class, state, step)

        kind = grpc.unary_stream_rpc_method_handler if method == "WatchStatus" else grpc.unary_unary_rpc_method_handler
        return kind(
            stream if method == "WatchStatus" else unary,
            request_deserializer=request_class.FromString,
            response_serializer=answer_class.SerializeToString,
        )

    @staticmethod
    def snapshot(answer_class, state, step):
        status = answer_class(run_id="fake-1", run_name="fake", run_dir="/runs/fake", state=state, stage_index=1)
        status.stages.add(name="base", type="train", state=3, step=5, num_steps=5)
        status.stages.add(name="tune", type="train", state=2, step=step, num_steps=9, metrics={"reward": 0.5 * step})
        status.last_checkpoint.path = "checkpoints/step-7"
        return status

    def answer(self, method, answer_class):
        if method == "GetStatus":
            return self.snapshot(answer_class, RUNNING, 1)
        if method == "SaveCheckpoint":
            answer = answer_class()
            answer.checkpoint.path = "checkpoints/step-8"
            return answer
        if method == "GetConfig":
            return answer_class(resolved_yaml="run:\n  name: fake\n", sha256="0")
        return answer_class(state={"Pause": PAUSED, "Resume": RUNNING, "Stop": STOPPING}[method])


class ClientTest(unittest.TestCase):
    def serve(self, trainer):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=(trainer,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        return f"127.0.0.1:{port}"

    def setUp(self):
        self.trainer = FakeTrainer()
        self.address = self.serve(self.trainer)
        scratch = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def client(self, **arguments):
        arguments.setdefault("address", self.address)
        client = grpo_client.Client(**arguments)
        self.addCleanup(client.close)
        return client

    def run_dir(self, address, **files):
        (self.folder / "endpoint.json").write_text(json.dumps({"address": address, "pid": 5, **files}))
        return self.folder

    def test_status_says_where_the_run_is(self):
        status = self.client().status()
        self.assertEqual(("RUNNING", "tune", 1, 9, {"reward": 0.5}), (status.state, status.stage, status.step, status.num_steps, status.metrics))
        self.assertEqual(["DONE", "RUNNING"], [stage.state for stage in status.stages])
        self.assertEqual("checkpoints/step-7", status.message.last_checkpoint.path)
        self.assertFalse(status.ended)

    def test_control_answers_with_the_state_that_the_run_is_in_now(self):
        client = self.client()
        self.assertEqual("PAUSED", client.pause("machine needed"))
        self.assertEqual("RUNNING", client.resume())
        self.assertEqual("checkpoints/step-8", client.checkpoint())
        self.assertEqual("STOPPING", client.stop())
        self.assertIn("name: fake", client.config())
        self.assertEqual(("Pause", "machine needed"), self.trainer.asked[0])
        self.assertEqual(["Pause", "Resume", "SaveCheckpoint", "Stop", "GetConfig"], [method for method, _ in self.trainer.asked])

    def test_watch_ends_with_the_run(self):
        seen = [(status.state, status.step) for status in self.client().watch(min_interval_s=0.25)]
        self.assertEqual([("RUNNING", 0), ("RUNNING", 1), ("FINISHED", 2)], seen)
        self.assertEqual([("WatchStatus", 250)], self.trainer.asked)

    def test_a_watch_that_breaks_off_is_an_error(self):
        self.trainer.watched = [RUNNING]
        with self.assertRaisesRegex(ConnectionError, "before the run's end"):
            list(self.client().watch())

    def test_a_state_that_is_newer_than_the_client_is_its_number(self):
        self.trainer.watched = [77, FINISHED]
        self.assertEqual(["77", "FINISHED"], [status.state for status in self.client().watch()])

    def test_a_run_is_found_by_its_folder_and_its_token_is_sent(self):
        trainer = FakeTrainer(token="secret")
        address = self.serve(trainer)
        token = self.folder / "token"
        token.write_text("secret\n")
        client = self.client(address=None, run_dir=self.run_dir(address, token_file=str(token)))
        self.assertEqual("fake", client.status().run_name)
        with self.assertRaisesRegex(PermissionError, "token is missing or wrong"):
            self.client(address=address).status()

    def test_what_is_not_there_is_said(self):
        with self.assertRaisesRegex(FileNotFoundError, "nowhere"):
            self.client(address=None, run_dir=self.folder / "nowhere")
        with self.assertRaisesRegex(ConnectionError, "nothing serves"):
            self.client(address=None, run_dir=self.folder)
        with self.assertRaisesRegex(ConnectionError, "no trainer answers at 127.0.0.1:1"):
            self.client(address="127.0.0.1:1").status()
        for text in ("nonsense", "[]", "{}", '{"address": 5}'):
            (self.folder / "endpoint.json").write_text(text)
            with self.assertRaises(ValueError):
                self.client(address=None, run_dir=self.folder)
        with self.assertRaises(ValueError):
            grpo_client.Client()

    def test_a_token_does_not_leave_the_machine_in_clear(self):
        token = self.folder / "token"
        token.write_text("secret")
        with self.assertRaisesRegex(ValueError, "tls_ca"):
            self.client(address="trainer.example:41327", token_file=str(token))

    def test_what_the_trainer_refuses_is_said_with_its_words_and_code(self):
        self.trainer.refuse = (grpc.StatusCode.FAILED_PRECONDITION, "the run has ended")
        with self.assertRaisesRegex(grpo_client.RunError, "the run has ended") as raised:
            self.client().pause()
        self.assertEqual("FAILED_PRECONDITION", raised.exception.code)

    def test_the_source_says_that_it_is_to_be_built(self):
        source = HERE / "grpo_client.py"
        program = f"import sys; sys.path.insert(0, {str(source.parent)!r}); import grpo_client; grpo_client.Client(address='a:1')"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertIn("bazel build //sdk:grpo_client", ended.stderr)

    def test_the_example_stops_a_run_that_is_good_enough(self):
        self.trainer.watched = [RUNNING, RUNNING, RUNNING, 6]
        environment = {**os.environ, "PYTHONPATH": str(CLIENT.parent)}
        command = [sys.executable, str(HERE / "examples/watch_run.py"), str(self.run_dir(self.address)), "--stop-at", "0.9"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertIn("RUNNING  tune 2/9  reward 1", ended.stdout)
        self.assertIn("reward 0.9 is reached: STOPPING", ended.stdout)
        self.assertEqual(1, [method for method, _ in self.trainer.asked].count("Stop"))


if __name__ == "__main__":
    unittest.main()
