"""A teacher that is only an address, behind a server that misbehaves: nothing is lost, nothing comes or is paid for twice."""

import collections
import contextlib
import http.server
import itertools
import json
import os
import random
import re
import signal
import threading
import time
import unittest

import harness
from harness import trainer_pb2

API_TEACHER = harness.ROOT / "tests/e2e/api_teacher.yaml"
KEY = "sk-e2e-0123456789"
NUM_PROBLEMS, NUM_SAMPLES, NUM_MEASURED = 24, 3, 4 * 2


class Teacher:
    """Solves "Q:H35 L94\nA:", a text of its own for every completion. `misbehave(number, handler, request)` may answer a request in its
    place and return True, or return an answer that is to be sent."""

    def __init__(self, misbehave=None, heeds_keys=False):
        self._misbehave = misbehave or (lambda number, handler, request: None)
        self._heeds_keys = heeds_keys
        self._lock = threading.Lock()
        self._number, self._text = itertools.count(), itertools.count()
        self._known = {}
        # Completions that were answered well, and so are paid for, by problem.
        self.paid = collections.Counter()
        self.keys_refused = 0
        teacher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                teacher._serve(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        if handler.headers["Authorization"] != f"Bearer {KEY}" or handler.path != "/v1/chat/completions":
            with self._lock:
                self.keys_refused += 1
            return self.send(handler, {"error": {"message": "no"}}, status=401)
        request = json.loads(body)
        with self._lock:
            number = next(self._number)
        answer = self._misbehave(number, handler, request)
        if answer is True:
            return None
        name = handler.headers["Idempotency-Key"]
        with self._lock:
            known = self._known.get(name) if self._heeds_keys and answer is None else None
            if known is None:
                known = self._known[name] = answer or self.answer_to(request)
                self.paid[request["messages"][0]["content"]] += len(known["choices"])
        return self.send(handler, known)

    def answer_to(self, request, num_choices=None, model="teacher-1"):
        """A good one; it is paid for when it is sent whole."""
        prompt = request["messages"][0]["content"]
        heads, legs = map(int, re.fullmatch(r"Q:H(\d+) L(\d+)\nA:", prompt).groups())
        count = num_choices or request.get("n", 1)
        choices = [
            {
                "index": index,
                "message": {"content": f"<answer>{legs // 2 - heads}</answer>", "reasoning_content": f"{next(self._text)}"},
                "finish_reason": "stop",
            }
            for index in range(count)
        ]
        return {"model": model, "choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": 5 * count}}

    @staticmethod
    def send(handler, answer, status=200, headers=(), cut=None):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body)))
            for name, value in headers:
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body[:cut])
        except OSError:
            pass  # whoever asked was killed
        return True


class ApiTeacherTest(harness.EndToEndTest):

    def setUp(self):
        super().setUp()
        self.run_dir = self.folder / "run"
        self.key_file = self.folder / "key"
        self.key_file.write_text(KEY + "\n")
        self.key_file.chmod(0o600)

    def teacher(self, *arguments, **options):
        teacher = Teacher(*arguments, **options)
        self.addCleanup(teacher.close)
        return teacher

    def settings(self, teacher, **endpoint):
        endpoint |= {"url": teacher.url, "api_key_file": self.key_file}
        return {f"policies.teacher.endpoint.{key}": value for key, value in endpoint.items()}

    def kill_everything(self, run):
        # First of all the one that would start the others again.
        run.signal(signal.SIGKILL)
        run.wait()
        for pid in harness.processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def assert_each_trace_once(self):
        traces = [json.loads(line) for line in (self.run_dir / "out/traces.jsonl").read_text().splitlines()]
        places = collections.Counter((trace["group_index"], trace["sample_index"]) for trace in traces)
        self.assertEqual(
            {(group, sample): 1 for group in range(NUM_PROBLEMS) for sample in range(NUM_SAMPLES)}, dict(places)
        )
        self.assertEqual(len(traces), len({trace["completion"] for trace in traces}))
        for trace in traces:
            self.assertEqual(("teacher", "teacher-1"), (trace["policy"], trace["model"]))
            self.assertRegex(trace["completion"], r"^<think>\d+</think>\n<answer>\d+</answer>$")
            self.assertNotIn("num_tokens", trace)

    def stages(self):
        return {row["name"]: row["metrics"] for row in json.loads((self.run_dir / "summary.json").read_text())["stages"]}

    def test_nothing_is_lost_and_nothing_comes_twice_whatever_the_server_does(self):
        # Each problem meets two faults and no more, in whatever order the requests come: nobody waits through a long row of failures.
        plans, lock = {}, threading.Lock()

        def misbehave(number, handler, request):
            with lock:
                problem = request["messages"][0]["content"]
                if problem not in plans:
                    index = len(plans)
                    plans[problem] = ["late"] if index == 0 else [index % 5, (index + 1) % 5]
                fault = plans[problem].pop(0) if plans[problem] else None
            match fault:
                case 0:
                    return Teacher.send(handler, {}, status=429, headers=[("Retry-After", "0.05")])
                case 1:
                    return Teacher.send(handler, b"oops", status=500)
                case 2:
                    half = json.dumps(teacher.answer_to(request)).encode()
                    return Teacher.send(handler, half, cut=len(half) // 2)
                case 3:
                    return Teacher.send(handler, b"<html>busy</html>")
                case 4:
                    return teacher.answer_to(request, num_choices=1)  # n is ignored
                case "late":
                    time.sleep(4)  # longer than timeout_s
                    return True
            return None

        teacher = self.teacher(misbehave)
        self.run_to_end(self.run_dir, API_TEACHER, self.settings(teacher))
        self.assert_each_trace_once()
        self.assertEqual([[]] * NUM_PROBLEMS, list(plans.values()))
        self.assertEqual(0, teacher.keys_refused)
        # Each of the problems' completions once, and those of the first four measured.
        self.assertEqual(NUM_PROBLEMS * NUM_SAMPLES + NUM_MEASURED, sum(teacher.paid.values()))
        stages = self.stages()
        self.assertEqual(5 * NUM_PROBLEMS * NUM_SAMPLES, stages["write"]["endpoint/output_tokens"])
        self.assertEqual(1, stages["measure"]["pass_at_1"])
        self.assertNotIn("num_parameters", stages["measure"])
        self.assertGreater(stages["learn"]["loss"], 0)
        write = stages["write"]
        usd = write["endpoint/input_tokens"] * 1e-6 + write["endpoint/output_tokens"] * 1e-5
        self.assertAlmostEqual(usd, write["endpoint/usd"])
        report = harness.grpoctl("report", self.run_dir)
        self.assertEqual(harness.EXIT_OK, report.returncode, report.stderr)
        self.assertIn("endpoint&#58; usd", (self.run_dir / "report.md").read_text())
        # The key stands in its file and nowhere else.
        for path in self.run_dir.rglob("*"):
            if path.is_file():
                self.assertNotIn(KEY.encode(), path.read_bytes(), path)

    def test_killed_and_resumed_no_problem_is_paid_for_twice(self):
        held, opened = threading.Semaphore(0), threading.Event()
        answered = 10

        def misbehave(number, handler, request):
            if number < answered or opened.is_set():
                return None
            held.release()
            opened.wait()  # by then nobody listens any more
            return True

        teacher = self.teacher(misbehave)
        with harness.Run(self.run_dir, API_TEACHER, self.settings(teacher)) as run:
            for _ in range(4):  # concurrency
                self.assertTrue(held.acquire(timeout=60), run.stderr)
            log = self.run_dir / "answers/teacher.jsonl"
            harness.wait_until(lambda: log.read_bytes().count(b"\n") == answered, "what was answered is recorded")
            self.kill_everything(run)
        opened.set()
        self.run_to_end(self.run_dir, resume=True)
        self.assert_each_trace_once()
        self.assertEqual(NUM_PROBLEMS * NUM_SAMPLES + NUM_MEASURED, sum(teacher.paid.values()))
        self.assertEqual({NUM_SAMPLES, NUM_SAMPLES + 2}, set(teacher.paid.values()))
        self.assertEqual(NUM_PROBLEMS, self.stages()["write"]["endpoint/num_answers"])

    def test_killed_anywhere_a_server_that_heeds_names_of_requests_is_paid_once(self):
        teacher = self.teacher(lambda *_: time.sleep(0.05), heeds_keys=True)
        chance = random.Random(17)
        config, settings = API_TEACHER, self.settings(teacher)
        for _ in range(3):
            with harness.Run(self.run_dir, config, settings, resume=config is None) as run:
                harness.wait_until(lambda: sum(teacher.paid.values()) > 0, "the run asks", timeout_s=60)
                time.sleep(chance.uniform(0, 0.3))
                self.kill_everything(run)
            # Before the first checkpoint, too, a run goes on with its own configuration.
            config, settings = None, None
        self.run_to_end(self.run_dir, resume=True)
        self.assert_each_trace_once()
        self.assertEqual(NUM_PROBLEMS * NUM_SAMPLES + NUM_MEASURED, sum(teacher.paid.values()))

    def test_a_worker_that_is_killed_asks_for_nothing_again(self):
        teacher = self.teacher(lambda *_: time.sleep(0.05), heeds_keys=True)
        with harness.Run(self.run_dir, API_TEACHER, self.settings(teacher)) as run:
            harness.wait_until(lambda: sum(teacher.paid.values()) > 10, "the run asks", timeout_s=60)
            os.kill(run.pid_of("rollout-0"), signal.SIGKILL)
            self.assertEqual(harness.EXIT_OK, run.wait(120), run.stderr)
        self.assert_each_trace_once()
        self.assertEqual(NUM_PROBLEMS * NUM_SAMPLES + NUM_MEASURED, sum(teacher.paid.values()))

    def test_another_model_is_refused_by_name(self):
        teacher = self.teacher(lambda number, handler, request: teacher.answer_to(request, model="cheaper"))
        with harness.Run(self.run_dir, API_TEACHER, self.settings(teacher)) as run:
            self.assertNotEqual(harness.EXIT_OK, run.wait())
            self.assertIn('"cheaper"', run.stderr)
            self.assertIn('"teacher-1"', run.stderr)

    def test_a_spent_budget_pauses_the_run_and_says_what_was_spent(self):
        teacher = self.teacher()
        with harness.Run(self.run_dir, API_TEACHER, self.settings(teacher, budget_tokens=500)) as run:

            def paused():
                status = run.status()
                return status if status.state == trainer_pb2.RUN_STATE_PAUSED else None

            status = harness.wait_until(paused, "the run is paused")
            self.assertIn("the budget of policies.teacher.endpoint is spent", status.state_reason)
            spent = int(re.search(r"(\d+) of 500 tokens in \d+ answers", status.state_reason)[1])
            # 10 of input and 5 a completion; never more than the budget, since a request may cost 362.
            self.assertEqual(sum(teacher.paid.values()) // NUM_SAMPLES * (10 + 5 * NUM_SAMPLES), spent)
            self.assertTrue(100 < spent <= 500, spent)
            (self.run_dir / "answers/teacher.budget.json").write_text('{"budget_tokens": 1000000}')
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_each_trace_once()


if __name__ == "__main__":
    unittest.main()
