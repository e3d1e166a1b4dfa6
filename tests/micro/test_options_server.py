"""Options against a real server: each way to authenticate, TLS, and coming back after a restart."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nats
import nkeys
import pytest
from nats.aio.client import Client

import micro
from micro import options
from micro._connection import transports
from micro._connection.settings import ConnectOption, Settings, resolve
from micro.testing import free_port, nats_server

from .certificates import write_certificates


async def connect(settings: Settings, **more: Any) -> Client:
    """Connect once, and let the first refusal be the outcome."""
    client = Client()
    transports.install(client, settings)
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


def make_jwt(kind: str, subject: str, issuer_seed: str, *, expires: int | None = None) -> str:
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
    if expires is not None:
        claims["exp"] = expires
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
    with nats_server(config='authorization { user: me, password: "p@ss:w/d" }') as server:
        await round_trip(options.servers(server.url), options.user_password("me", "p@ss:w/d"))
        await round_trip(options.servers(f"nats://me:p%40ss%3Aw%2Fd@127.0.0.1:{server.port}"))
        with pytest.raises(Exception, match="Authorization Violation"):
            await round_trip(options.servers(server.url), options.user_password("me", "other"))


async def test_a_token(tmp_path: Path) -> None:
    with nats_server(config='authorization { token: "t0ken" }') as server:
        await round_trip(options.servers(server.url), options.token("t0ken"))
        await round_trip(environ={"NATS_URL": server.url, "NATS_TOKEN": "t0ken"})


async def test_an_nkey(tmp_path: Path) -> None:
    seed, public = make_nkey(nkeys.PREFIX_BYTE_USER)
    path = tmp_path / "me.nk"
    path.write_text(f"{seed}\n")
    with nats_server(config=f"authorization {{ users = [{{ nkey: {public} }}] }}") as server:
        await round_trip(options.servers(server.url), options.nkey_seed(seed))
        await round_trip(options.servers(server.url), options.nkey_file(path))


async def test_a_jwt_and_a_credentials_file(
    tmp_path: Path, operator_mode: tuple[str, str, str]
) -> None:
    config, jwt, seed = operator_mode
    path = tmp_path / "me.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    with nats_server(config=config) as server:
        await round_trip(options.servers(server.url), options.jwt(jwt, seed))
        await round_trip(options.servers(server.url), options.creds_file(path))


@pytest.mark.parametrize("first", [False, True], ids=["upgrade", "tls_first"])
async def test_tls_with_a_client_certificate(tmp_path: Path, first: bool) -> None:
    write_certificates(tmp_path)
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "both.pem", "both.key"))
    config = (
        f'tls {{ ca_file: "{ca}", cert_file: "{cert}", key_file: "{key}", verify: true, '
        f"handshake_first: {str(first).lower()} }}"
    )
    with nats_server(config=config) as server:
        given = [options.servers(server.url), *([options.tls_first()] if first else [])]
        environ = {"NATS_CA": str(ca), "NATS_CERT": str(cert), "NATS_KEY": str(key)}
        await round_trip(*given, options.tls(ca=ca, cert=cert, key=key))
        await round_trip(*given, environ=environ)
        await round_trip(*given, options.ssl_context(resolve([], environ).ssl_context()))
        with pytest.raises(Exception, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
            await round_trip(*given)


async def test_the_name_and_the_inbox_prefix_reach_the_server(tmp_path: Path) -> None:
    with nats_server() as server:
        settings = resolve(
            [options.servers(server.url), options.name("me"), options.inbox_prefix("_IN.me")], {}
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
    with nats_server(port=port):
        client = await connect(settings, reconnected_cb=reconnected, error_cb=ignore)
    with nats_server(port=port):
        await asyncio.wait_for(back.wait(), 20)

        assert client.is_connected
        await client.close()


async def test_the_sample_of_the_manual_runs() -> None:
    text = (Path(__file__).parents[2] / "docs/connecting.md").read_text()
    sample = text.partition("```python\n")[2].partition("```")[0]
    with nats_server() as server:
        program = sample.replace("nats://127.0.0.1:4222", server.url)
        assert program != sample
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        try:
            async with asyncio.timeout(30), await nats.connect(server.url) as client:
                while not await micro.Client(client).ping("echo"):
                    assert process.returncode is None
        finally:
            process.terminate()
            code = await asyncio.wait_for(process.wait(), 30)

    assert code == 0
