"""A run that other machines can reach: encrypted without anybody asking, and each caller may do what its role may."""

import stat
import unittest

import grpc
import harness
from harness import trainer_pb2, trainer_pb2_grpc


class TlsTest(harness.AgainstUndisturbedRunTest):

    def certificate(self, role):
        """What a process of the role presents."""
        tls = self.run_dir / "tls"
        pair = [(tls / f"{role}{end}").read_bytes() for end in (".key", ".pem")] if role else [None, None]
        return grpc.ssl_channel_credentials((tls / "ca.pem").read_bytes(), *pair)

    def code_of(self, run, credentials, method, request):
        """The code with which a call ends."""
        address = run.endpoint()["address"]
        channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
        with channel:
            try:
                getattr(trainer_pb2_grpc.TrainerServiceStub(channel), method)(request, timeout=harness.CALL_S)
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    def test_a_run_off_loopback_makes_its_own_certificates_and_holds_callers_to_their_roles(self):
        with harness.Run(self.run_dir, harness.TINY, {"network.host": "0.0.0.0"}) as run:
            endpoint = run.endpoint()
            self.assertEqual(str(self.run_dir / "tls/operator.pem"), endpoint["tls_cert"])
            harness.wait_until(
                lambda: harness.grpoctl("pause", "--run-dir", self.run_dir).returncode == harness.EXIT_OK,
                "the run is paused",
            )
            for key in (self.run_dir / "tls").glob("*.key"):
                self.assertEqual(0o600, stat.S_IMODE(key.stat().st_mode), key)
            status, stop = trainer_pb2.GetStatusRequest(), trainer_pb2.StopRequest()
            ok, denied, closed = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE
            self.assertEqual(ok, self.code_of(run, self.certificate("viewer"), "GetStatus", status))
            self.assertEqual(ok, self.code_of(run, self.certificate("operator"), "GetStatus", status))
            for role in ("viewer", "worker", "reward_server", "trainer"):
                self.assertEqual(denied, self.code_of(run, self.certificate(role), "Stop", stop), role)
            self.assertEqual(denied, self.code_of(run, self.certificate("worker"), "GetStatus", status))
            self.assertEqual(closed, self.code_of(run, self.certificate(None), "Stop", stop))
            self.assertEqual(closed, self.code_of(run, None, "Stop", stop))
            shown = harness.grpoctl("status", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, shown.returncode, shown.stderr)
            self.assertRegex(shown.stdout, r"refused +callers: \d+ no_certificate, 5 wrong_role\n")
            self.assertIn("PAUSED", shown.stdout)
            resumed = harness.grpoctl("resume", "--run-dir", self.run_dir)
            self.assertEqual(harness.EXIT_OK, resumed.returncode, resumed.stderr)
            self.assertEqual(harness.EXIT_OK, run.wait(), run.stderr)
        self.assert_undisturbed_results()


if __name__ == "__main__":
    unittest.main()
