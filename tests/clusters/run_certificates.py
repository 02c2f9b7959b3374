"""Certificates as a run makes them for itself (common/rpc/certificates.h), by openssl: also such as no run would make."""

import pathlib
import shutil
import subprocess

ROLES = ("trainer", "worker", "reward_server", "operator", "viewer")


def _openssl(*words):
    subprocess.run(["openssl", *[str(word) for word in words]], check=True, capture_output=True)


def _request(folder, name, *more):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / f"{name}.key"]
    _openssl("req", "-new", *key, "-subj", f"/CN={name}", *more)
    (folder / f"{name}.key").chmod(0o600)


class RunCertificates:
    """The authority of one run, and what it has signed: FOLDER/ca.pem, ROLE.pem, ROLE.key."""

    def __init__(self, folder, run_id, hosts=()):
        self.folder, self.run_id, self.hosts = pathlib.Path(folder), run_id, hosts
        self.folder.mkdir()
        _request(self.folder, "ca", "-x509", "-days", "2", "-out", self.folder / "ca.pem")
        for role in ROLES:
            self.issue(role, role)

    def issue(self, name, role, days=1):
        """NAME.pem and NAME.key, for a caller of this role; one that has ended with days=-1."""
        _request(self.folder, name, "-out", self.folder / f"{name}.csr")
        names = [f"URI:grpo://{self.run_id}/{role}", *(f"DNS:{host}" for host in self.hosts)]
        usage = "clientAuth,serverAuth" if role in ("trainer", "reward_server") else "clientAuth"
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage={usage}\n")
        signed = ["-CA", self.folder / "ca.pem", "-CAkey", self.folder / "ca.key", "-days", days]
        _openssl("x509", "-req", "-in", self.folder / f"{name}.csr", *signed, "-extfile", extensions, "-out", self.folder / f"{name}.pem")
        return self

    def hand_out(self, folder, *names):
        """A folder that holds the authority's certificate and these roles' files: what one machine is given."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        for name in ("ca.pem", *(f"{name}.{kind}" for name in names for kind in ("pem", "key"))):
            shutil.copy(self.folder / name, folder / name)
        return folder

    def read(self, file_name):
        return (self.folder / file_name).read_bytes()
