"""Ray for tests: a head with token authentication in namespaces of its own, where it reaches nobody and `ps` shows nothing else."""

import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile

import harness

_MARK = "GRPO_TEST_NAMESPACES"
# Where tools/test_clusters installs tools/clusters/pip_packages.txt, if ray is not in PATH.
_VENV = pathlib.Path(__file__).resolve().parents[2] / ".venv-clusters/bin"
# Ray's own are for machines that have more than two busy cores.
_PATIENCE = {"RAY_raylet_start_wait_time_s": "300", "RAY_gcs_server_request_timeout_seconds": "300"}


def enter_namespaces():
    """Starts this program again in network and process namespaces of its own, and returns there. Needs root.

    Ray listens on every interface in places, and what it leaves dies with the namespace's first process.
    """
    if _MARK not in os.environ:
        os.environ[_MARK] = "1"
        flags = ["--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
        os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class RayCluster:
    """One machine with so many CPUs, as a context; `environment` is that of whoever calls Ray's client."""

    ADDRESS = "127.0.0.1:6379"

    def __init__(self, cpus=8):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ray."))
        path = os.pathsep.join([os.environ["PATH"], str(_VENV)])
        ray = shutil.which("ray", path=path)
        if ray is None:
            raise RuntimeError("there is no ray: tools/test_clusters installs it")
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.environment = os.environ | _PATIENCE | {
            "PATH": f"{pathlib.Path(ray).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._cpus = cpus

    def __enter__(self):
        port = self.ADDRESS.rpartition(":")[2]
        flags = ["--head", "--node-ip-address", "127.0.0.1", "--port", port, "--num-cpus", str(self._cpus)]
        # Ray's sockets need a short path.
        self.call("start", *flags, "--temp-dir", self.folder / "r", timeout_s=600)
        return self

    def __exit__(self, *_):
        # By name, but nothing else is in these namespaces.
        subprocess.run(["ray", "stop", "--force"], env=self.environment, capture_output=True, timeout=120, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *words, timeout_s=120):
        """What `ray` wrote to stdout."""
        command = ["ray", *(str(word) for word in words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def jobs(self):
        """{submission id: what Ray says of it}."""
        said = self.call("list", "jobs", "--address", self.ADDRESS, "--format", "json", "--detail")
        jobs = json.loads(said) if said.lstrip().startswith("[") else []
        return {job["submission_id"]: job for job in jobs if job["submission_id"]}

    def job(self, submission):
        return self.jobs()[submission]

    def wait_for_end(self, submission, timeout_s=900):
        """The job's last word: SUCCEEDED, FAILED or STOPPED."""
        ended = ("SUCCEEDED", "FAILED", "STOPPED")
        return harness.wait_until(
            lambda: (job := self.job(submission))["status"] in ended and job, f"{submission} has ended", timeout_s
        )
