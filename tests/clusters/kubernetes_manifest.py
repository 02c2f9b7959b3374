"""What Kubernetes, JobSet and a container runtime make of a manifest, as far as tests need it here: which pods there are,
what each is told, what it sees, and how its container is started. Nothing of a cluster is used.

    manifest = Manifest(path)
    for pod in manifest.pods("trainer", attempt=0): pod.host, pod.command(), pod.environment()
"""

import base64
import json
import os
import pathlib
import re
import subprocess
import sys

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = _REPOSITORY / ".venv-kubernetes"
# What tools/clusters/kubernetes installs.
sys.path.append(str(next(ENVIRONMENT.glob("lib/python3*/site-packages"), ENVIRONMENT)))

import jsonschema  # noqa: E402
import kubernetes_validate  # noqa: E402
import yaml  # noqa: E402

_DEFINITION = pathlib.Path(__file__).resolve().parent / "jobset_crd/jobset.x-k8s.io_jobsets.yaml"
# The newest three minor versions of Kubernetes whose schemas the package brings.
MINORS = sorted({tuple(map(int, version.split(".")[:2])) for version in kubernetes_validate.utils.all_versions()})[-3:]
MINORS = [".".join(map(str, minor)) for minor in MINORS]


def _closed(schema):
    """The schema, by which a key that it does not name is an error."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(part) for key, part in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    open_end = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if is_object and not open_end:
        closed["additionalProperties"] = False
    return closed


def jobset_validator():
    """Says what is wrong with a JobSet, unknown keys included, by its own definition."""
    versions = yaml.safe_load(_DEFINITION.read_text())["spec"]["versions"]
    schema = next(version for version in versions if version["name"] == "v1alpha2")["schema"]["openAPIV3Schema"]
    return jsonschema.Draft202012Validator(_closed(schema))


def validate(document, minor):
    """Raises for a document of one of Kubernetes' own kinds that this minor version refuses."""
    kubernetes_validate.validate(document, minor, strict=True)


def expand(text, variables):
    """$(NAME) as Kubernetes replaces it in commands and values: $$ is $, and what is not known stays."""

    def value(match):
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, text)


class Pod:
    """One pod of one Job of the set."""

    def __init__(self, manifest, role, job, index, attempt, job_attempt):
        self.manifest, self.role = manifest, role["name"]
        self.spec = role["template"]["spec"]["template"]["spec"]
        self.container = self.spec["containers"][0]
        subdomain = manifest.jobset["spec"]["network"]["subdomain"]
        self.host = f"{manifest.name}-{self.role}-{job}-{index}.{subdomain}"
        self._annotations = {
            "batch.kubernetes.io/job-completion-index": index,
            "jobset.sigs.k8s.io/job-index": job,
            "jobset.sigs.k8s.io/restart-attempt": attempt,
            "jobset.sigs.k8s.io/job-restart-attempt": job_attempt,
        }

    def environment(self):
        known = {}
        for variable in self.container.get("env", []):
            if "value" in variable:
                known[variable["name"]] = expand(variable["value"], known)
                continue
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            annotation = re.fullmatch(r"metadata\.annotations\['(.*)'\]", path)[1]
            known[variable["name"]] = str(self._annotations.get(annotation, ""))
        return known

    def command(self):
        environment = self.environment()
        return [expand(word, environment) for word in self.container["command"]]

    def files(self, volume):
        """{name: (content, mode)} of a volume that is a ConfigMap or Secret; None for one that can be written to."""
        if "configMap" in volume:
            document = self.manifest.one("ConfigMap")
            assert document["metadata"]["name"] == volume["configMap"]["name"]
            texts = {name: text.encode() for name, text in document.get("data", {}).items()}
            texts |= {name: base64.b64decode(text) for name, text in document.get("binaryData", {}).items()}
            return {name: (content, 0o644) for name, content in texts.items()}
        if "secret" in volume:
            document = self.manifest.one("Secret")
            assert document["metadata"]["name"] == volume["secret"]["secretName"]
            mode = volume["secret"]["defaultMode"]
            items = volume["secret"]["items"]
            return {item["path"]: (document["stringData"][item["key"]].encode(), mode) for item in items}
        return None


class Manifest:
    """The documents of one file."""

    def __init__(self, path):
        self.documents = list(yaml.safe_load_all(pathlib.Path(path).read_text()))
        self.jobset = self.one("JobSet")
        self.name = self.jobset["metadata"]["name"]

    def one(self, kind):
        (document,) = [document for document in self.documents if document["kind"] == kind]
        return document

    def kinds(self):
        return [document["kind"] for document in self.documents]

    def role(self, name):
        return next(role for role in self.jobset["spec"]["replicatedJobs"] if role["name"] == name)

    def pods(self, name, attempt=0, job_attempt=0):
        role = self.role(name)
        pods = range(role["template"]["spec"]["completions"])
        return [Pod(self, role, job, pod, attempt, job_attempt) for job in range(role["replicas"]) for pod in pods]

    def hosts(self):
        return [pod.host for role in self.jobset["spec"]["replicatedJobs"] for pod in self.pods(role["name"])]


class Node:
    """Starts the containers of pods, each on a host of its own of a namespaces.Network, on one image's root file system.

    What a container sees is what the manifest says: the read-only image, its volumes, the user, no rights. `claim` is the
    folder behind the run's claim, `scratch` one for all else; both end with the test.
    """

    _ENTER = """
    root=$1 image=$2 hosts=$3; shift 3
    mount --bind "$image" "$root"
    mount -o remount,bind,ro "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --bind "$hosts" "$root/etc/hosts"
    while [ "$1" != -- ]; do
      mount --bind "$1" "$root$2"
      if [ "$3" = ro ]; then mount -o remount,bind,ro "$root$2"; fi
      shift 3
    done
    shift
    exec chroot "$root" "$@"
    """

    def __init__(self, image, network, claim, scratch):
        self._image, self._network = pathlib.Path(image), network
        self._claim, self._scratch = pathlib.Path(claim), pathlib.Path(scratch)
        for folder in ("proc", "dev"):
            (self._image / folder).mkdir(exist_ok=True)
        (self._image / "etc/hosts").touch()
        # What stands for the run's network here. A copy: the network's own file is a mount without a name.
        self._hosts = self._scratch / "hosts"
        self._hosts.write_bytes(pathlib.Path("/etc/hosts").read_bytes())

    def _volume(self, pod, volume, folder):
        """The folder behind a volume, made when the pod first needs it."""
        if "persistentVolumeClaim" in volume:
            return self._claim
        path = folder / volume["name"]
        if path.exists():
            return path
        path.mkdir(parents=True)
        group = pod.spec["securityContext"]["fsGroup"]
        files = pod.files(volume)
        for name, (content, mode) in (files or {}).items():
            (path / name).write_bytes(content)
            (path / name).chmod(mode)
            os.chown(path / name, 0, group)
        if files is None:
            os.chown(path, 0, group)
            path.chmod(0o2775)
        return path

    def _mounts(self, pod, container, folder):
        """Words of _ENTER: what is mounted where, and whether it can be written to."""
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        words = []
        for mount in container["volumeMounts"]:
            source = self._volume(pod, volumes[mount["name"]], folder) / mount.get("subPath", "")
            # A container runtime makes these, before the root file system is read-only.
            target = self._image / mount["mountPath"].lstrip("/")
            if source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            words += [source, mount["mountPath"], "ro" if mount.get("readOnly") else "rw"]
        return words

    def start(self, pod, words=None, container=None, **streams):
        """A process in a container of the pod: its own command, or `words`."""
        container = container or pod.container
        folder = self._scratch / pod.host
        root = folder / "root"
        root.mkdir(parents=True, exist_ok=True)
        context = pod.spec["securityContext"]
        user = ["setpriv", f"--reuid={context['runAsUser']}", f"--regid={context['runAsGroup']}"]
        user += [f"--groups={context['fsGroup']}", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        environment = {"PATH": "/opt/grpo/bin:/usr/bin:/bin", "LANG": "C.UTF-8"} | pod.environment()
        variables = [f"{name}={value}" for name, value in environment.items()]
        inside = [*user, "env", "-i", *variables, *(words or pod.command())]
        mounts = self._mounts(pod, container, folder)
        enter = ["sh", "-ec", self._ENTER, "sh", root, self._image, self._hosts, *mounts, "--", *inside]
        return subprocess.Popen(self._network[pod.host].command(enter), **streams)

    def probe(self, pod):
        """Whether the container is ready."""
        command = pod.container["readinessProbe"]["exec"]["command"]
        return self.start(pod, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(60) == 0

    def initialize(self, pod):
        """Its init containers, one after the other."""
        for container in pod.spec.get("initContainers", []):
            code = self.start(pod, container["command"], container).wait(60)
            assert code == 0, f"{pod.host}: {json.dumps(container['command'])} ended with {code}"
