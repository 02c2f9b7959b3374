"""What `grpoctl launch --on kubernetes` writes: by the schemas of Kubernetes and JobSet, field by field, and as it runs.

There is no cluster here. The containers are started as the manifest states them, each on a host of its own in a network
namespace, on the root file system of the image that deploy/image/build made; what a kubelet and JobSet do, this test does.
"""

import copy
import json
import os
import pathlib
import subprocess
import sys
import unittest
from unittest import mock

_HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent / "e2e"), str(_HERE)]

import harness  # noqa: E402
import kubernetes_manifest  # noqa: E402
import namespaces  # noqa: E402

# Made by tools/clusters/kubernetes; its root file system is unpacked beside it.
IMAGE = kubernetes_manifest.ENVIRONMENT / "image/cpu/rootfs"
# Keys under which whoever launches, or a cluster, may put names of their own.
FREE_KEYS = {"labels", "annotations", "nodeSelector", "requests", "limits", "metadata"}

SETTINGS = {
    "trainer.ranks": 2,
    "trainer.stop_within_s": 60,
    "rollout_worker.workers": 2,
    "reward_server.servers": 2,
    "launch.trainer.nodes": 2,
    "launch.kubernetes.image": "grpo:cpu",
}


def launch(folder, settings, config=harness.TINY):
    """The manifest that a dry run writes."""
    command = ["launch", config, "--on", "kubernetes", "--dry-run", "--out", folder]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    result = harness.grpoctl(*command)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return kubernetes_manifest.Manifest(next(folder.rglob("kubernetes.yaml")))


def expect_image():
    if not IMAGE.is_dir():
        raise AssertionError(f"there is no {IMAGE}: tools/clusters/kubernetes makes it")


def key_paths(node, path=()):
    """The paths of all keys whose names are the schema's."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            if key not in FREE_KEYS:
                yield from key_paths(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from key_paths(value, (*path, index))


def renamed(document, path):
    """The document with one key misspelt."""
    changed = copy.deepcopy(document)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[f"{path[-1]}x"] = holder.pop(path[-1])
    return changed


class ManifestTest(harness.EndToEndTest):
    def setUp(self):
        super().setUp()
        self.manifest = launch(self.folder, SETTINGS)

    def job(self, role):
        return self.manifest.role(role)["template"]["spec"]

    def pod(self, role):
        return self.job(role)["template"]["spec"]

    def test_kubernetes_own_kinds_are_right_for_three_minor_versions(self):
        self.assertEqual(3, len(kubernetes_manifest.MINORS))
        documents = [document for document in self.manifest.documents if document["kind"] != "JobSet"]
        # What JobSet makes of its roles.
        for role in ("trainer", "reward", "rollout"):
            documents.append(
                {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": role}, "spec": self.job(role)}
            )
        for minor in kubernetes_manifest.MINORS:
            for document in documents:
                with self.subTest(minor=minor, kind=document["kind"], name=document["metadata"]["name"]):
                    kubernetes_manifest.validate(document, minor)

    def test_a_misspelt_key_of_kubernetes_own_kinds_is_found(self):
        document = renamed(self.manifest.one("NetworkPolicy"), ("spec", "policyTypes"))
        with self.assertRaises(kubernetes_manifest.kubernetes_validate.ValidationError):
            kubernetes_manifest.validate(document, kubernetes_manifest.MINORS[-1])

    def test_the_jobset_is_right_by_its_definition_which_finds_every_misspelt_key(self):
        validator = kubernetes_manifest.jobset_validator()
        self.assertEqual([], [error.message for error in validator.iter_errors(self.manifest.jobset)])
        paths = [path for path in key_paths(self.manifest.jobset) if path[0] == "spec" and isinstance(path[-1], str)]
        self.assertGreater(len(paths), 200)
        for path in paths:
            if next(validator.iter_errors(renamed(self.manifest.jobset, path)), None) is None:
                self.fail(f"nobody misses {'.'.join(map(str, path))}")

    def test_what_becomes_of_the_run_when_a_pod_ends(self):
        spec = self.manifest.jobset["spec"]
        rules = [(rule["action"], rule.get("targetReplicatedJobs")) for rule in spec["failurePolicy"]["rules"]]
        self.assertEqual(
            [("FailJobSet", None), ("RestartJob", ["reward", "rollout"]), ("RestartJobSet", ["trainer"])], rules
        )
        self.assertEqual(["PodFailurePolicy"], spec["failurePolicy"]["rules"][0]["onJobFailureReasons"])
        self.assertEqual({"operator": "All", "targetReplicatedJobs": ["trainer"]}, spec["successPolicy"])
        self.assertEqual("InOrder", spec["startupPolicy"]["startupPolicyOrder"])
        for role in ("trainer", "reward", "rollout"):
            moved, over = self.job(role)["podFailurePolicy"]["rules"]
            self.assertEqual("Ignore", moved["action"])
            self.assertEqual("DisruptionTarget", moved["onPodConditions"][0]["type"])
            self.assertEqual("FailJob", over["action"])
            codes = over["onExitCodes"]["values"]
            self.assertEqual(sorted(codes), codes)
            self.assertLessEqual({64, 65, 66, 77, 78}, set(codes), role)
            # "Start again": a stop that nobody asked for, and signals.
            self.assertFalse({0, 75, 137, 143} & set(codes), role)
            self.assertEqual("Never", self.pod(role)["restartPolicy"])
            self.assertEqual(0, self.job(role)["backoffLimit"])

    def test_containers_have_no_right_that_they_can_do_without(self):
        for role in ("trainer", "reward", "rollout"):
            pod = self.pod(role)
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertGreater(pod["securityContext"]["runAsUser"], 0)
            self.assertEqual("RuntimeDefault", pod["securityContext"]["seccompProfile"]["type"])
            self.assertFalse(pod["automountServiceAccountToken"])
            for container in pod["containers"] + pod.get("initContainers", []):
                context = container["securityContext"]
                self.assertTrue(context["readOnlyRootFilesystem"])
                self.assertFalse(context["allowPrivilegeEscalation"])
                self.assertEqual({"drop": ["ALL"]}, context["capabilities"])
                self.assertEqual(container["resources"]["requests"], container["resources"]["limits"])
        self.assertEqual(90, self.pod("trainer")["terminationGracePeriodSeconds"])

    def test_only_the_trainer_sees_the_claim(self):
        claims = {}
        for role in ("trainer", "reward", "rollout"):
            claims[role] = [volume["name"] for volume in self.pod(role)["volumes"] if "persistentVolumeClaim" in volume]
        self.assertEqual({"trainer": ["runs"], "reward": [], "rollout": []}, claims)

    def test_only_pods_of_the_run_reach_each_other(self):
        policy = self.manifest.one("NetworkPolicy")["spec"]
        own = {"matchLabels": {"jobset.sigs.k8s.io/jobset-name": self.manifest.name}}
        self.assertEqual(own, policy["podSelector"])
        self.assertEqual(["Ingress", "Egress"], policy["policyTypes"])
        self.assertEqual([{"from": [{"podSelector": own}]}], policy["ingress"])
        to_run, names = policy["egress"]
        self.assertEqual({"to": [{"podSelector": own}]}, to_run)
        self.assertEqual({53}, {port["port"] for port in names["ports"]})

    def test_all_pods_have_names_that_dns_takes(self):
        for host in self.manifest.hosts():
            label = host.partition(".")[0]
            # Job pods get five letters and a dash more.
            self.assertLessEqual(len(label) + 6, 63)
            self.assertRegex(label, r"\A[a-z][a-z0-9-]*[a-z0-9]\Z")

    def test_gpus_queue_nodes_and_taints_are_asked_for(self):
        settings = SETTINGS | {
            "launch.trainer.nodes": 1,
            "launch.trainer.gpus_per_process": 1,
            "launch.kubernetes.queue": "team-a",
            "launch.kubernetes.node_selector": "{accelerator: h100}",
            "launch.kubernetes.tolerations": "[{key: nvidia.com/gpu, effect: NoSchedule}]",
            "launch.kubernetes.claim": "shared",
        }
        manifest = launch(self.folder / "gpus", settings)
        pod = manifest.pods("trainer")[0].spec
        # Both ranks of the machine share a container, and so its GPUs.
        self.assertEqual("2", pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
        self.assertIn("/dev/shm", [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]])
        self.assertEqual({"accelerator": "h100"}, pod["nodeSelector"])
        self.assertEqual("nvidia.com/gpu", pod["tolerations"][0]["key"])
        self.assertEqual("team-a", manifest.jobset["metadata"]["labels"]["kueue.x-k8s.io/queue-name"])
        self.assertNotIn("PersistentVolumeClaim", manifest.kinds())

    def with_kubectl(self, *words):
        """One call of grpoctl that finds a kubectl which notes what it is asked and answers as if all had been made."""
        kubectl = self.folder / "bin/kubectl"
        kubectl.parent.mkdir(exist_ok=True)
        answer = {"kind": "List", "items": [{"kind": "JobSet", "metadata": {"namespace": "learning", "name": "set-1"}}]}
        kubectl.write_text(f"#!/bin/sh\necho \"$@\" >>'{self.folder}/asked'\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
        kubectl.chmod(0o755)
        with mock.patch.dict(os.environ, {"PATH": f"{kubectl.parent}:{os.environ['PATH']}"}):
            result = harness.grpoctl("launch", harness.TINY, "--on", "kubernetes", *words, "--set", "launch.kubernetes.image=x")
        self.assertEqual(0, result.returncode, result.stderr)
        asked = self.folder / "asked"
        return asked.read_text() if asked.exists() else ""

    def test_a_dry_run_asks_no_cluster(self):
        self.assertEqual("", self.with_kubectl("--dry-run", "--out", self.folder / "dry"))

    def test_what_was_written_is_what_kubectl_is_given(self):
        run_dir = self.folder / "run"
        asked = self.with_kubectl("--run-dir", run_dir)
        self.assertIn(f"apply --filename {run_dir}/launch/kubernetes.yaml", asked)
        self.assertEqual("learning/set-1", json.loads((run_dir / "launch/job.json").read_text())["job"])


class Cluster:
    """The manifest's pods, started and restarted as JobSet would."""

    def __init__(self, manifest, folder, network):
        self.manifest = manifest
        self.claim = folder / "claim"
        self.claim.mkdir(parents=True)
        user = manifest.pods("trainer")[0].spec["securityContext"]["runAsUser"]
        subprocess.run(["chown", f"0:{user}", self.claim], check=True)
        self.claim.chmod(0o2775)
        scratch = folder / "pods"
        scratch.mkdir()
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._node = kubernetes_manifest.Node(IMAGE, network, self.claim, scratch)
        self._children = {}

    def run_dir(self):
        return self.claim / pathlib.Path(self.manifest.jobset["metadata"]["annotations"]["run-dir"]).name

    def log(self, host):
        return (self._logs / f"{host}.log").read_text()

    def start(self, attempt=0):
        """All Jobs, in the order of startupPolicy: the next role once the one before is ready."""
        for role in self.manifest.jobset["spec"]["replicatedJobs"]:
            pods = self.manifest.pods(role["name"], attempt)
            for pod in pods:
                self._node.initialize(pod)
                with (self._logs / f"{pod.host}.log").open("a") as log:
                    self._children[pod.host] = self._node.start(pod, stdout=log, stderr=log)
            for pod in pods:
                if "readinessProbe" in pod.container:
                    harness.wait_until(lambda pod=pod: self._ready(pod), f"{pod.host} is ready")

    def _ready(self, pod):
        code = self._children[pod.host].poll()
        assert code is None, f"{pod.host} ended with {code}: {self.log(pod.host)}"
        return self._node.probe(pod)

    def kill(self):
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()

    def wait(self):
        """{host: exit code} of all."""
        return {host: child.wait(300) for host, child in self._children.items()}

    def steps(self, stage):
        path = self.run_dir() / "metrics.jsonl"
        return path.exists() and sum(f'"{stage}"' in line for line in path.read_text().splitlines())


class RunTest(harness.AgainstUndisturbedRunTest):
    SETTINGS = {"trainer.ranks": 2, "rollout_worker.workers": 2, "checkpoint.every_steps": 10}

    @classmethod
    def setUpClass(cls):
        expect_image()
        super().setUpClass()

    def launched(self, **launch_trainer):
        settings = {f"launch.trainer.{key}": value for key, value in launch_trainer.items()}
        manifest = launch(self.folder, SETTINGS | self.SETTINGS | settings)
        network = self.enterContext(namespaces.Network(*manifest.hosts()))
        cluster = Cluster(manifest, self.folder, network)
        self.addCleanup(cluster.kill)
        return cluster

    def assert_finished(self, cluster):
        codes = cluster.wait()
        self.assertEqual({host: 0 for host in codes}, codes, {host: cluster.log(host)[-2000:] for host in codes})
        self.assert_same_results(self.undisturbed, cluster.run_dir())

    def test_pods_find_each_other_by_name_and_the_result_is_the_local_runs(self):
        cluster = self.launched()
        cluster.start()
        self.assert_finished(cluster)
        self.assertTrue((cluster.run_dir() / "config.yaml").exists())

    def test_ranks_that_share_a_pod_give_the_same_result(self):
        cluster = self.launched(nodes=1)
        cluster.start()
        self.assert_finished(cluster)

    def test_a_set_that_starts_again_goes_on_from_the_last_checkpoint(self):
        cluster = self.launched()
        cluster.start()
        harness.wait_until(lambda: cluster.steps("tune") >= 15, "the run is in its second stage", timeout_s=300)
        cluster.kill()
        cluster.start(attempt=1)
        self.assert_finished(cluster)


class ImageTest(harness.EndToEndTest):
    @classmethod
    def setUpClass(cls):
        expect_image()

    def in_image(self, *words, code=0):
        """What a program says that runs on the image's root file system, as the image's user, with a /tmp of its own."""
        script = (
            'root=$1; shift; mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"; '
            'mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/tmp"; '
            'chmod 1777 "$root/tmp"; '
            'exec chroot --userspec=10001:10001 "$root" env -i HOME=/tmp PATH=/opt/grpo/bin:/usr/bin:/bin "$@"'
        )
        for folder in ("proc", "dev"):
            (IMAGE / folder).mkdir(exist_ok=True)
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script, "sh", IMAGE, *words]
        result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(code, result.returncode, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def test_every_program_finds_its_libraries(self):
        self.assertRegex(self.in_image("grpoctl", "--version"), r"^grpoctl \d")
        for program in ("grpoctl", "grpoctl-model", "trainer", "rollout_worker", "reward_server"):
            self.assertIn("--help", self.in_image(program, "--help"))

    def test_a_ready_configuration_is_valid_there(self):
        self.assertIn("Memory", self.in_image("grpoctl", "validate", "/opt/grpo/configs/quickstart.yaml"))

    def test_a_short_run_finishes_on_the_read_only_image(self):
        config = harness.TINY.read_text().replace("../../configs", "/opt/grpo/configs")
        script = f"cat >/tmp/tiny.yaml <<'END'\n{config}\nEND\n"
        script += "grpoctl run /tmp/tiny.yaml --run-dir /tmp/run && test -s /tmp/run/summary.json"
        self.in_image("sh", "-ec", script)

    def test_nothing_of_the_machine_that_built_it_is_in_it(self):
        for name in ("etc/resolv.conf", "etc/hostname", "etc/apt/sources.list", "root/.ssh", "root/.netrc"):
            path = IMAGE / name
            self.assertFalse(path.exists() and path.stat().st_size > 0, name)
        files = [path for path in IMAGE.rglob("*") if path.is_file() and not path.is_symlink()]
        self.assertEqual([], [path for path in files if path.suffix in {".key", ".p12"}])
        self.assertEqual([], [path for path in files if path.stat().st_mode & 0o6000])


if __name__ == "__main__":
    namespaces.isolate()
    unittest.main()
