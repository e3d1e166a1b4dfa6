"""What operators do to a cluster while it is in use."""

import os
import subprocess
import time
from pathlib import Path

from tests.micro_etcd.certificates import Authority

from micro_etcd import EtcdTLS, HostPortPair
from micro_etcd._local_etcd import Ports
from micro_etcd.testing import EtcdCluster, EtcdServer, find_etcd

ARGUMENTS = ("--auth-token-ttl=5", "--bcrypt-cost=4")
LIFETIME = 90  # seconds of a client's certificate, which is renewed more often


class Operator:
    """What an operator does to a cluster: a learner, authentication, certificates."""

    def __init__(self, cluster: EtcdCluster, authority: Authority, binary: Path | None) -> None:
        self.server_files = authority.issue("server")
        self.client_files = authority.issue("client", seconds=LIFETIME)
        self._cluster = cluster
        self._authority = authority
        self._binary = binary
        self._ctl = find_etcd("etcdctl") if binary is None else binary.with_name("etcdctl")
        self._ports = Ports.free()
        self._learner: EtcdServer | None = None
        self.learner_address = HostPortPair("127.0.0.1", self._ports.client)

    @property
    def secure(self) -> EtcdTLS:
        """What the clients connect with."""
        cert, key = self.client_files
        return EtcdTLS(ca=self._authority.path, cert=cert, key=key)

    def renew(self) -> None:
        """Renew the certificates on disk."""
        self._authority.issue("client", seconds=LIFETIME)
        self._authority.issue("server")

    def enable(self) -> None:
        """Make the user root and switch authentication on."""
        self._run("user", "add", "root:secret")
        self._run("role", "add", "root")
        self._run("user", "grant-role", "root", "root")
        self._run("auth", "enable")

    def switch_authentication(self) -> None:
        """Switch authentication off, and on again after a while."""
        self._run("auth", "disable")
        time.sleep(2)
        self._run("auth", "enable")

    def switch_learner(self) -> None:
        """Add a learner, or remove the one there is."""
        if self._learner is not None:
            self.remove_learner()
            return
        peers = [f"{member.name}={member.peer_url}" for member in self._cluster.members]
        url = f"http://127.0.0.1:{self._ports.peer}"
        if not self._run("member", "add", "l", "--learner", f"--peer-urls={url}"):
            return
        self._learner = EtcdServer(
            self._binary,
            arguments=["--initial-cluster-state=existing", *ARGUMENTS],
            tls=(*self.server_files, self._authority.path),
            name="l",
            ports=self._ports,
            initial_cluster=",".join([*peers, f"l={url}"]),
        )
        self._learner.launch()

    def remove_learner(self) -> None:
        """Remove the learner, if there is one."""
        learner, self._learner = self._learner, None
        if learner is None:
            return
        learner.close()
        listed = self._run("member", "list") or ""
        for line in listed.splitlines():
            if learner.peer_url in line:
                self._run("member", "remove", line.split(",")[0])

    def _run(self, *command: str) -> str | None:
        """Run etcdctl; None when it failed, which it may while members are down."""
        endpoints = ",".join(str(member.address) for member in self._cluster.members)
        cert, key = self._authority.issue("operator")
        tls = [f"--cacert={self._authority.path}", f"--cert={cert}", f"--key={key}"]
        for user in (["--user=root:secret"], []):
            done = subprocess.run(
                [self._ctl, f"--endpoints={endpoints}", *tls, *user, *command],
                env={**os.environ, "ETCDCTL_API": "3"},
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                return done.stdout
        return None
