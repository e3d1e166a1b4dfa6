"""Options against a real server: each way to authenticate, TLS, and coming back after a restart."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import nkeys
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nats.aio.client import Client

from micro import options
from micro._options import ConnectOption, Settings, resolve

SERVER = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.defpath}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(folder: Path, config: str = "", *, port: int | None = None) -> Iterator[str]:
    """Run nats-server with the configuration `config`; give its ``host:port`` once it is ready."""
    assert SERVER is not None, "nats-server is missing: make .venv/dev"
    port = free_port() if port is None else port
    path = folder / "server.conf"
    path.write_text(f'listen: "127.0.0.1:{port}"\n{config}')
    process = subprocess.Popen(
        [SERVER, "-c", str(path)], stderr=subprocess.PIPE, text=True, cwd=folder
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "Server is ready" in line:
                break
        else:
            pytest.fail(f"nats-server did not start: {''.join(lines)}")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


async def connect(settings: Settings, **more: Any) -> Client:
    """Connect once, and let the first refusal be the outcome."""
    client = Client()
    refusals: asyncio.Queue[Exception] = asyncio.Queue()

    async def refused(error: Exception) -> None:
        refusals.put_nowait(error)

    connecting = asyncio.ensure_future(
        client.connect(**{"error_cb": refused, **settings.keywords(), **more})
    )
    refusal = asyncio.ensure_future(refusals.get())
    await asyncio.wait({connecting, refusal}, return_when=asyncio.FIRST_COMPLETED)
    if not refusal.done():
        refusal.cancel()
        await connecting
        return client
    connecting.cancel()
    await asyncio.wait({connecting})
    await client.close()
    raise refusal.result()


async def round_trip(*given: ConnectOption, environ: Mapping[str, str] | None = None) -> None:
    client = await connect(resolve(given, {} if environ is None else environ))
    try:
        subscription = await client.subscribe("there")
        await client.publish("there", b"and back")
        message = await subscription.next_msg(timeout=10)

        assert message.data == b"and back"
    finally:
        await client.close()


def make_nkey(prefix: int) -> tuple[str, str]:
    """Return a new seed and its public key."""
    seed = nkeys.encode_seed(os.urandom(32), prefix).decode()
    return seed, nkeys.from_seed(bytearray(seed.encode())).public_key.decode()


def make_jwt(kind: str, subject: str, issuer_seed: str) -> str:
    """Return a JWT of `kind` for the public key `subject`, signed by another key."""
    signer = nkeys.from_seed(bytearray(issuer_seed.encode()))

    def part(content: dict[str, Any]) -> str:
        return encode(json.dumps(content, separators=(",", ":"), sort_keys=True).encode())

    def encode(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    unlimited: dict[str, Any] = {"subs": -1, "data": -1, "payload": -1}
    limits = unlimited | {"imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    claims: dict[str, Any] = {
        "iat": 1_700_000_000,
        "iss": signer.public_key.decode(),
        "name": kind,
        "sub": subject,
        "nats": {"type": kind, "version": 2}
        | {"operator": {}, "account": {"limits": limits}, "user": unlimited}[kind],
    }
    claims["jti"] = base64.b32encode(hashlib.sha256(part(claims).encode()).digest()).decode()
    signed = f"{part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{part(claims)}"
    return f"{signed}.{encode(signer.sign(signed.encode()))}"


@pytest.fixture
def operator_mode() -> tuple[str, str, str]:
    """Return a server configuration, and the JWT and seed of a user it accepts."""
    operator_seed, operator = make_nkey(nkeys.PREFIX_BYTE_OPERATOR)
    account_seed, account = make_nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    user_seed, user = make_nkey(nkeys.PREFIX_BYTE_USER)
    account_jwt = make_jwt("account", account, operator_seed)
    config = (
        f"operator: {make_jwt('operator', operator, operator_seed)}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {account}: {account_jwt} }}\n"
    )
    return config, make_jwt("user", user, account_seed), user_seed


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    with server(tmp_path, 'authorization { user: me, password: "p@ss:w/d" }') as place:
        await round_trip(options.servers(place), options.user_password("me", "p@ss:w/d"))
        await round_trip(options.servers(f"nats://me:p%40ss%3Aw%2Fd@{place}"))
        with pytest.raises(Exception, match="Authorization Violation"):
            await round_trip(options.servers(place), options.user_password("me", "other"))


async def test_a_token(tmp_path: Path) -> None:
    with server(tmp_path, 'authorization { token: "t0ken" }') as place:
        await round_trip(options.servers(place), options.token("t0ken"))
        await round_trip(environ={"NATS_URL": place, "NATS_TOKEN": "t0ken"})


async def test_an_nkey(tmp_path: Path) -> None:
    seed, public = make_nkey(nkeys.PREFIX_BYTE_USER)
    path = tmp_path / "me.nk"
    path.write_text(f"{seed}\n")
    with server(tmp_path, f"authorization {{ users = [{{ nkey: {public} }}] }}") as place:
        await round_trip(options.servers(place), options.nkey_seed(seed))
        await round_trip(options.servers(place), options.nkey_file(path))


async def test_a_jwt_and_a_credentials_file(
    tmp_path: Path, operator_mode: tuple[str, str, str]
) -> None:
    config, jwt, seed = operator_mode
    path = tmp_path / "me.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    with server(tmp_path, config) as place:
        await round_trip(options.servers(place), options.jwt(jwt, seed))
        await round_trip(options.servers(place), options.creds_file(path))


def write_certificates(folder: Path) -> None:
    """Write ca.pem, and one certificate with key for both sides: both.pem, both.key."""
    now = datetime.now(UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "both")}
    names = {
        name: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"micro {name}")])
        for name in keys
    }
    for name, key in keys.items():
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["ca"])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(name == "ca", None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]),
                critical=False,
            )
        )
        certificate = builder.sign(keys["ca"], hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


@pytest.mark.parametrize("first", [False, True], ids=["upgrade", "tls_first"])
async def test_tls_with_a_client_certificate(tmp_path: Path, first: bool) -> None:
    write_certificates(tmp_path)
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "both.pem", "both.key"))
    config = (
        f'tls {{ ca_file: "{ca}", cert_file: "{cert}", key_file: "{key}", verify: true, '
        f"handshake_first: {str(first).lower()} }}"
    )
    with server(tmp_path, config) as place:
        given = [options.servers(place), *([options.tls_first()] if first else [])]
        environ = {"NATS_CA": str(ca), "NATS_CERT": str(cert), "NATS_KEY": str(key)}
        await round_trip(*given, options.tls(ca=ca, cert=cert, key=key))
        await round_trip(*given, environ=environ)
        await round_trip(*given, options.ssl_context(resolve([], environ).keywords()["tls"]))
        with pytest.raises(Exception, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
            await round_trip(*given)


async def test_the_name_and_the_inbox_prefix_reach_the_server(tmp_path: Path) -> None:
    with server(tmp_path) as place:
        settings = resolve(
            [options.servers(place), options.name("me"), options.inbox_prefix("_IN.me")], {}
        )
        client = await connect(settings)

        assert client.options["name"] == "me"
        assert client.new_inbox().startswith("_IN.me.")
        await client.close()


async def test_a_restarted_server_is_found_again(tmp_path: Path) -> None:
    port, back = free_port(), asyncio.Event()

    async def reconnected() -> None:
        back.set()

    async def ignore(error: Exception) -> None:
        """Failed attempts are what this test is about."""

    settings = resolve([options.servers(f"127.0.0.1:{port}")], {})
    with server(tmp_path, port=port):
        client = await connect(settings, reconnected_cb=reconnected, error_cb=ignore)
    with server(tmp_path, port=port):
        await asyncio.wait_for(back.wait(), 20)

        assert client.is_connected
        await client.close()
