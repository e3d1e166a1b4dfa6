"""Options against a real server: each way to authenticate, TLS, and coming back after a restart."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import nats
import nats.errors
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


# --- credentials of several servers, and credentials that change ---------------------------------


@pytest.fixture(params=["fast", "public"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MICRO_TRANSPORT", request.param)
    return str(request.param)


async def test_each_server_of_a_list_takes_its_own_user(path: str) -> None:
    config = "authorization {{ user: {}, password: pw }}"
    with (
        nats_server(config=config.format("a")) as one,
        nats_server(config=config.format("b")) as two,
    ):
        urls = [
            one.url.replace("://", "://a:pw@"),
            two.url.replace("://", "://b:pw@"),
        ]
        for _ in range(6):  # in random order
            await round_trip(options.servers(*urls))
        await round_trip(environ={"NATS_URL": ",".join(urls)})
        two.stop()
        async with micro.Context() as ctx:
            await ctx.connect(options.servers(urls))
            assert ctx.client.is_connected


@contextlib.asynccontextmanager
async def echoing(*given: ConnectOption) -> AsyncIterator[micro.Context]:
    async with micro.Context() as ctx:
        await ctx.connect(*given)
        service = await ctx.add_service("renewed", "1.0.0")

        async def echo(request: micro.Request) -> None:
            await request.respond(request.data())

        await service.add_endpoint("echo", echo)
        yield ctx


async def served(client: Client) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(nats.errors.Error):
                if (await client.request("echo", b"x", timeout=0.5)).data == b"x":
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["function", "file", "async function"])
async def test_a_token_that_changes_is_read_again(path: str, tmp_path: Path, kind: str) -> None:
    file, port = tmp_path / "token.txt", free_port()
    file.write_text("monday\n")

    async def later() -> str:
        return file.read_text().strip()

    given: Any = {
        "function": lambda: file.read_text().strip(),
        "file": file,
        "async function": later,
    }[kind]
    with contextlib.ExitStack() as stack:
        config = "authorization { token: monday }"
        server = stack.enter_context(nats_server(port=port, config=config))
        async with echoing(options.servers(server.url), options.token(given)):
            server.stop()
            file.write_text("tuesday\n")
            config = "authorization { token: tuesday }"
            again = await asyncio.to_thread(
                stack.enter_context, nats_server(port=port, config=config)
            )
            async with await nats.connect(again.url, token="tuesday") as client:
                await served(client)


@pytest.mark.parametrize("renewed", ["client", "authority"])
async def test_certificates_that_change_are_read_again(
    path: str, tmp_path: Path, renewed: str
) -> None:
    write_certificates(tmp_path)
    port = free_port()
    config = (
        f'tls {{ ca_file: "{tmp_path}/ca.pem", cert_file: "{tmp_path}/both.pem", '
        f'key_file: "{tmp_path}/both.key", verify: true }}'
    )
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats_server(port=port, config=config))
        files = options.tls(
            ca=tmp_path / "ca.pem", cert=tmp_path / "both.pem", key=tmp_path / "both.key"
        )
        async with echoing(options.servers(server.url), files):
            server.stop()
            write_certificates(tmp_path)  # of another authority
            again = await asyncio.to_thread(
                stack.enter_context, nats_server(port=port, config=config)
            )
            context = resolve([files], {}).ssl_context()
            async with await nats.connect(again.url, tls=context) as client:
                await served(client)


async def test_a_credentials_file_that_is_being_written_is_read_again(
    path: str, tmp_path: Path, operator_mode: tuple[str, str, str]
) -> None:
    config, jwt, seed = operator_mode
    file, port, failed = tmp_path / "me.creds", free_port(), asyncio.Event()
    text = (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    file.write_text(text)

    async def note(error: Exception) -> None:
        if "invalid credentials file" in str(error):
            failed.set()

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats_server(port=port, config=config))
        async with echoing(options.servers(server.url), options.creds_file(file)) as ctx:
            ctx.add_error_callback(note)
            client = ctx.client
            server.stop()
            file.write_text(text[:40])
            again = await asyncio.to_thread(
                stack.enter_context, nats_server(port=port, config=config)
            )
            await asyncio.wait_for(failed.wait(), 20)
            file.write_text(text)
            settings = resolve([options.servers(again.url), options.jwt(jwt, seed)], {})
            caller = await connect(settings)
            await served(caller)
            await caller.close()
            assert ctx.client is client


# --- TLS means TLS -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tls://", "tls()", "tls_first()", "NATS_CA"])
async def test_a_server_without_tls_is_refused_before_it_is_told_anything(
    path: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificates(tmp_path)
    seen = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "x", "version": "2.11.0", "headers": true}\r\n')
        with contextlib.suppress(OSError):
            seen.extend(await reader.read())
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    given = [options.servers(f"nats://{place}"), options.user_password("u", "hunter2")]
    if kind == "tls://":
        given[0] = options.servers(f"tls://{place}")
    elif kind == "tls()":
        given.append(options.tls(ca=tmp_path / "ca.pem"))
    elif kind == "tls_first()":
        given.append(options.tls_first())
    else:
        monkeypatch.setenv("NATS_CA", str(tmp_path / "ca.pem"))
    async with micro.Context() as ctx:
        with pytest.raises(micro.ConnectError):
            await ctx.connect(*given)
    listener.close()
    assert b"CONNECT" not in seen
    assert b"hunter2" not in seen


async def test_tls_that_a_server_only_offers_is_taken(path: str, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    config = (
        f'allow_non_tls: true\ntls {{ cert_file: "{tmp_path}/both.pem", '
        f'key_file: "{tmp_path}/both.key" }}'
    )
    with nats_server(config=config) as server:
        async with echoing(options.servers(server.url), options.tls(ca=tmp_path / "ca.pem")) as ctx:
            transport = ctx.client._transport
            assert transport is not None
            assert transport.encrypted  # type: ignore[attr-defined]  # of both transports
        await round_trip(options.servers(server.url))


@pytest.mark.parametrize("retry", [False, True])
async def test_a_refusal_by_tls_keeps_its_reason_and_is_not_waited_for(
    path: str, tmp_path: Path, retry: bool
) -> None:
    write_certificates(tmp_path)
    config = (
        f'tls {{ ca_file: "{tmp_path}/ca.pem", cert_file: "{tmp_path}/both.pem", '
        f'key_file: "{tmp_path}/both.key", verify: true }}'
    )
    with nats_server(config=config) as server:
        async with micro.Context() as ctx, asyncio.timeout(20):
            with pytest.raises(micro.ConnectError, match=r"refused the connection: .*certificate"):
                await ctx.connect(
                    options.servers(server.url),
                    options.tls(ca=tmp_path / "ca.pem"),
                    options.retry(retry),
                )


async def test_a_server_without_headers_is_refused_by_name(path: str) -> None:
    with nats_server(config="no_header_support: true\n") as server:
        async with micro.Context() as ctx:
            with pytest.raises(
                micro.ConnectError, match="refused the connection: the server does not support head"
            ):
                await ctx.connect(options.servers(server.url), options.retry())


async def test_retry_waits_for_a_free_place(path: str) -> None:
    with nats_server(config="max_connections: 1\n") as server:
        holder = await nats.connect(server.url)
        async with micro.Context() as ctx:
            # On the public path the server may close before its reason is read.
            reason = "maximum connections exceeded" + ("" if path == "fast" else "|pipe|reset")
            with pytest.raises(micro.ConnectError, match=reason):
                await ctx.connect(options.servers(server.url))
        async with micro.Context() as ctx, asyncio.timeout(20):
            connecting = asyncio.create_task(
                ctx.connect(options.servers(server.url), options.retry())
            )
            done, _ = await asyncio.wait({connecting}, timeout=0.5)
            assert not done
            await holder.close()
            await connecting
            assert ctx.client.is_connected


async def test_a_name_with_a_dead_address_connects_to_the_other(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def two_addresses(host: Any, *rest: Any, **named: Any) -> Any:
        names = ("127.0.0.9", "127.0.0.1") if host == "nats.test" else (host,)
        return [entry for name in names for entry in real(name, *rest, **named)]

    with nats_server() as server:
        monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
        with socket.create_server(("127.0.0.9", server.port), backlog=0):
            full = [socket.socket() for _ in range(4)]  # nothing more is accepted
            for one in full:
                one.setblocking(False)
                one.connect_ex(("127.0.0.9", server.port))
            for _ in range(4):
                await round_trip(options.servers(f"nats://nats.test:{server.port}"))
            for one in full:
                one.close()
