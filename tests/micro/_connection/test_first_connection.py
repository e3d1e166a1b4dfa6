"""The first connection: at once or not at all, with one readable line, unless told to wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nats.aio.client import Client as NatsClient

import micro
from micro import ConnectError, ConnectOption, options
from micro._connection import first_connection
from micro._connection.first_connection import FirstConnection
from micro._connection.settings import resolve
from micro.testing import NatsServer, free_port, nats_server

AT_ONCE = 20.0
"""Seconds within which an attempt has to fail; nats-py itself would go on for minutes."""

HINT = (
    "; start one with `micro server`, or wait for one with options.retry() or `micro run --retry`"
)


async def reason(*given: ConnectOption) -> str:
    context = micro.Context()
    async with context, asyncio.timeout(AT_ONCE):
        with pytest.raises(ConnectError) as caught:
            await context.connect(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def guarded() -> Iterator[NatsServer]:
    with nats_server("--user", "u", "--pass", "right") as server:
        yield server


async def test_unreachable_server_is_told_at_once() -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    message = await reason(options.servers(url))
    assert message.startswith(f"cannot connect to {url}: ")
    assert "Connect call failed" in message
    assert message.endswith(HINT)


async def test_every_server_is_tried_first() -> None:
    urls = [f"nats://127.0.0.1:{free_port()}" for _ in range(3)]
    assert (await reason(options.servers(*urls))).startswith(
        f"cannot connect to {', '.join(urls)}: "
    )


async def test_second_server_is_used_when_the_first_is_not_there(server: NatsServer) -> None:
    context = micro.Context()
    async with context:
        await context.connect(options.servers(f"nats://127.0.0.1:{free_port()}", server.url))
        assert context.client.is_connected


async def test_unknown_host_is_told() -> None:
    message = await reason(options.servers("nats://no-such-host.invalid"))
    assert message.startswith("cannot connect to nats://no-such-host.invalid:4222: ")


@pytest.mark.parametrize("wait", [False, True])
async def test_wrong_password_is_told_at_once_even_with_retry(
    guarded: NatsServer, wait: bool
) -> None:
    message = await reason(
        options.servers(guarded.url), options.user_password("u", "wrong"), options.retry(wait)
    )
    assert message.startswith(f"{guarded.url} refused the connection: ")
    assert "authorization" in message.lower()
    assert "wrong" not in message


async def test_missing_password_is_told(guarded: NatsServer) -> None:
    message = await reason(options.servers(guarded.url))
    assert message.startswith(f"{guarded.url} refused the connection: ")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path


async def test_server_that_our_ca_does_not_know_is_told_at_once(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "server")
    other, _ = certificate(tmp_path, "other")
    config = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}'
    with nats_server(config=config) as secure:
        message = await reason(options.servers(secure.url), options.tls(ca=other), options.retry())
        assert message.startswith(f"{secure.url} refused the connection: ")
        assert "certificate verify failed" in message.lower()
        context = micro.Context()
        async with context:
            await context.connect(options.servers(secure.url), options.tls(ca=cert))
            assert context.client.is_connected


async def test_retry_waits_for_a_server_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_connection, "PROGRESS", 0.05)
    port = free_port()
    told = asyncio.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Connect call failed" in record.getMessage():
                told.set()

    watch = Watch()
    logging.getLogger("micro.connect").addHandler(watch)
    context = micro.Context()
    try:
        async with context, asyncio.timeout(60):
            connecting = asyncio.create_task(
                context.connect(options.servers(f"nats://127.0.0.1:{port}"), options.retry())
            )
            await told.wait()
            assert not connecting.done()
            with nats_server(port=port):
                await connecting
                assert context.client.is_connected
                context.cancel()
                await context.client.close()
    finally:
        logging.getLogger("micro.connect").removeHandler(watch)
    lines = [record.getMessage() for record in caplog.records if record.name == "micro.connect"]
    assert lines[-1].startswith(f"still connecting: cannot connect to nats://127.0.0.1:{port}: ")
    assert not lines[-1].endswith(HINT)


async def test_cancelling_ends_the_wait_for_a_server() -> None:
    context = micro.Context()
    async with context, asyncio.timeout(AT_ONCE):
        connecting = asyncio.create_task(
            context.connect(options.servers(f"nats://127.0.0.1:{free_port()}"), options.retry())
        )
        await asyncio.sleep(0)
        context.cancel()
        await connecting
        assert not context.client.is_connected


@pytest.mark.parametrize(("resets", "refused"), [(1, True), (3, True), (99, False)])
async def test_refusal_that_got_lost_in_a_reset_is_asked_for_again(
    resets: int, refused: bool
) -> None:
    """A server that closes with unread data resets the connection, and its last words are lost."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b'INFO {"server_id": "x", "version": "2.11.0", "auth_required": true}\r\n')
        if connections <= resets:
            linger = struct.pack("ii", 1, 0)  # close with a reset
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await reader.readuntil(b"PING\r\n")
        if connections > resets:
            writer.write(b"-ERR 'Authorization Violation'\r\n")
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    message = await reason(options.servers(url), options.user_password("u", "wrong"))
    assert message.startswith(f"{url} refused the connection: ") is refused
    assert connections <= 4 + 1
    listener.close()
    await listener.wait_closed()


async def test_silent_server_is_given_up() -> None:
    """Something listens and says nothing."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    message = await reason(
        options.servers(f"nats://127.0.0.1:{port}"), options.connect_timeout(0.2)
    )
    assert message.startswith(f"cannot connect to nats://127.0.0.1:{port}: ")
    listener.close()
    await listener.wait_closed()


class Nameless(NatsClient):
    """One whose server's name is not known; asking a real resolver may take long."""

    async def connect(self, *arguments: object, **keywords: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_unknown_host_name_is_no_reason_to_start_a_server() -> None:
    first = FirstConnection(resolve([options.servers("nats://nowhere.invalid:4222")], {}))
    with pytest.raises(ConnectError, match=r"Name or service not known; check the host name$"):
        await first.make(Nameless(), {})


class Swallowing(NatsClient):
    """One whose attempt loses a cancellation, as `asyncio.wait_for` does before Python 3.12."""

    async def connect(self, *arguments: object, **keywords: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()


async def test_attempt_that_loses_a_cancellation_ends_all_the_same() -> None:
    first = FirstConnection(resolve([options.servers("nats://127.0.0.1:1"), options.retry()], {}))
    making = asyncio.create_task(first.make(Swallowing(), {}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    making.cancel()
    done, _ = await asyncio.wait({making}, timeout=20)

    assert done
    assert making.cancelled()
