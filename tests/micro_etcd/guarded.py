"""Servers with authentication, for tests of several folders."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.micro_etcd.versions import Binaries

from micro_etcd import EtcdCredential
from micro_etcd.testing import EtcdServer

ROOT = EtcdCredential("root", "secret")
APP = EtcdCredential("app", "app-secret")
SIMPLE = ("--auth-token-ttl=1",)


def ctl(binaries: Binaries, server: EtcdServer, *command: str, text: str | None = None) -> None:
    """Run etcdctl."""
    subprocess.run(
        [binaries.etcdctl, f"--endpoints={server.address}", *command],
        env={**os.environ, "ETCDCTL_API": "3"},
        check=True,
        capture_output=True,
        text=True,
        input=text,
    )


def as_root(binaries: Binaries, server: EtcdServer, *command: str, text: str | None = None) -> None:
    """Run etcdctl with every right."""
    ctl(binaries, server, "--user=root:secret", *command, text=text)


def jwt(folder: Path) -> Sequence[str]:
    """Return the arguments of a server whose tokens are JWTs that live for 1 to 2 s."""
    key = rsa.generate_private_key(65537, 2048)
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return (f"--auth-token=jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=2s",)


@contextmanager
def guarded(binaries: Binaries, arguments: Sequence[str] = SIMPLE) -> Iterator[EtcdServer]:
    """Run a server with authentication, tokens of 1 s, and a user `app` who may use `/app/`."""
    with EtcdServer(binaries.etcd, arguments=arguments) as server:
        for command in (
            ["user", "add", "root:secret"],
            ["role", "add", "root"],
            ["user", "grant-role", "root", "root"],
            ["user", "add", "app:app-secret"],
            ["role", "add", "app"],
            ["role", "grant-permission", "app", "--prefix=true", "readwrite", "/app/"],
            ["user", "grant-role", "app", "app"],
            ["auth", "enable"],
        ):
            ctl(binaries, server, *command)
        yield server
