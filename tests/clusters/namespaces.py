"""Machines of a test's own, on one: network namespaces on a bridge, each with a host name and one interface, eth0.

    if __name__ == "__main__":
        namespaces.isolate()
        unittest.main()

    with namespaces.Network("node-a", "node-b") as network:
        subprocess.Popen(network["node-a"].command([TRAINER, ...]))

The test sees the hosts under their names, too, and they see it under network.address. They share this machine's file
system but for what a command hides. Needs root, iproute2 and util-linux; nothing outside is touched, and whatever was
started ends with the test, however that ends.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

_MARK = "GRPO_TEST_IS_ISOLATED"
_PREFIX = "10.77.0."


def _do(*words):
    subprocess.run([str(word) for word in words], check=True)


def isolate():
    """Starts this program again, in namespaces of its own for network, processes and mounts, unless it is there."""
    if os.environ.get(_MARK) == str(os.getpid()):
        _do("ip", "link", "set", "lo", "up")
        return
    if os.geteuid() != 0:
        sys.exit("this test makes network namespaces: run it as root")
    # The first process of a namespace for processes is 1; the others end with it.
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvpe(command[0], [*command, sys.executable, *sys.argv], os.environ | {_MARK: "1"})


class Host:
    """One machine. Its namespace lives as long as the process that holds it."""

    def __init__(self, name, address):
        self.name, self.address = name, address
        holder = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
        self._holder = subprocess.Popen(holder, stdout=subprocess.PIPE)
        self._holder.stdout.readline()  # there is the namespace
        # The other end of its cable, in the test's own namespace: what goes to the host and comes from it passes here.
        self.port = f"p{address.rpartition('.')[2]}"

    def connect(self, bridge):
        """Plugs the host in."""
        pid = self._holder.pid
        _do("ip", "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", pid)
        _do("ip", "link", "set", self.port, "master", bridge, "up")
        inside = ["nsenter", "--target", pid, "--net", "ip"]
        _do(*inside, "link", "set", "lo", "up")
        _do(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        _do(*inside, "link", "set", "eth0", "up")

    def command(self, words, hidden=()):
        """The words of a command line that runs `words` on this host, where the folders `hidden` are empty, whatever they
        hold elsewhere. The process that it starts is the command itself, so that a signal reaches it.
        """
        script = 'hostname "$1"; shift; while [ "$1" != -- ]; do mount -t tmpfs tmpfs "$1"; shift; done; shift; exec "$@"'
        enter = ["nsenter", "--target", self._holder.pid, "--net", "unshare", "--mount", "--uts"]
        return [str(word) for word in (*enter, "sh", "-ec", script, "sh", self.name, *hidden, "--", *words)]

    def cut(self):
        """Nothing passes any more, and nobody is told: packets are lost without an answer."""
        _do("ip", "link", "set", self.port, "down")

    def mend(self):
        _do("ip", "link", "set", self.port, "up")

    def close(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()
        # Gone already where the kernel was quick to end the namespace.
        subprocess.run(["ip", "link", "delete", self.port], stderr=subprocess.DEVNULL, check=False)


class Network:
    """Hosts by name, on a bridge of the test's own namespace; one at a time. Leaving it ends the hosts.

    Processes on the hosts are the caller's to end: a namespace lives as long as one of them.
    """

    BRIDGE = "br0"

    def __init__(self, *names):
        self.address = f"{_PREFIX}1"
        self._addresses = {name: f"{_PREFIX}{number}" for number, name in enumerate(names, start=2)}
        self._hosts = {}

    def __getitem__(self, name):
        return self._hosts[name]

    def __enter__(self):
        if os.environ.get(_MARK) != str(os.getpid()):
            raise RuntimeError("call namespaces.isolate() first: this would change the machine's own network")
        _do("ip", "link", "add", self.BRIDGE, "type", "bridge")
        _do("ip", "address", "add", f"{self.address}/24", "dev", self.BRIDGE)
        _do("ip", "link", "set", self.BRIDGE, "up")
        self._name_hosts()
        for name, address in self._addresses.items():
            self._hosts[name] = Host(name, address)
            self._hosts[name].connect(self.BRIDGE)
        return self

    def _name_hosts(self):
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._addresses.items())]
        with tempfile.NamedTemporaryFile("w", suffix=".hosts") as names:
            names.write("\n".join(lines) + "\n")
            names.flush()
            pathlib.Path(names.name).chmod(0o644)
            # In the test's own mounts, which what it starts inherits. A mount outlives the file's name.
            _do("mount", "--bind", names.name, "/etc/hosts")

    def __exit__(self, *_):
        for host in self._hosts.values():
            host.close()
        _do("umount", "/etc/hosts")
        _do("ip", "link", "delete", self.BRIDGE)
