"""Identity: an expired JWT is renewed, a refusal ends the program with its reason."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import nats
import nats.errors
import nkeys
import pytest
from nats.aio.client import Client as NatsClient
from tests.micro.certificates import write_certificates
from tests.micro.test_options_server import make_jwt, make_nkey
from tests.runtime.conftest import Start

import micro
from micro import options
from micro.testing import nats_server

from .kit import running


class Account:
    """An account of a server in operator mode."""

    def __init__(self) -> None:
        operator_seed, operator = make_nkey(nkeys.PREFIX_BYTE_OPERATOR)
        self._seed, account = make_nkey(nkeys.PREFIX_BYTE_ACCOUNT)
        jwt = make_jwt("account", account, operator_seed)
        self.config = (
            f"operator: {make_jwt('operator', operator, operator_seed)}\n"
            f"resolver: MEMORY\nresolver_preload: {{ {account}: {jwt} }}\n"
        )

    def write_user(self, path: Path, *, expires: int | None = None) -> None:
        """Write the credentials file of a new user, which may expire at a second since 1970."""
        seed, user = make_nkey(nkeys.PREFIX_BYTE_USER)
        jwt = make_jwt("user", user, self._seed, expires=expires)
        fresh = path.with_suffix(".new")
        fresh.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
        fresh.replace(path)


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("identity", "1.0.0")
    await service.add_endpoint("echo", echo)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def served(caller: NatsClient) -> float:
    """Return the time at which requests are answered and discovery finds the service."""
    async with asyncio.timeout(30):
        while True:
            try:
                await caller.request("echo", b"x", timeout=0.5)
            except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
                await asyncio.sleep(0.01)
                continue
            if await micro.Client(caller).ping("identity", max_count=1):
                return time.time()


@pytest.mark.parametrize("renewed", ["before", "after"])
async def test_expired_jwt_is_replaced_by_that_on_disk(
    path: str, renewed: str, tmp_path: Path
) -> None:
    """The fresh one may come before the old one expires, or only afterwards."""
    account = Account()
    mine, other = tmp_path / "mine.creds", tmp_path / "caller.creds"
    account.write_user(other)
    with nats_server(config=account.config) as server:
        caller = await nats.connect(server.url, user_credentials=str(other))
        expires = int(time.time()) + 3
        account.write_user(mine, expires=expires)
        gone = asyncio.Event()

        async def disconnected() -> None:
            gone.set()

        ways = options.servers(server.url), options.creds_file(mine)
        async with running(setup, *ways) as ctx:
            ctx.add_disconnected_callback(disconnected)
            former = ctx.client
            await served(caller)
            if renewed == "before":
                account.write_user(mine)
            await asyncio.wait_for(gone.wait(), 20)
            if renewed == "after":
                await asyncio.sleep(1)  # long enough for an attempt with the expired one
                account.write_user(mine)
            since = expires if renewed == "before" else time.time()
            elapsed = await served(caller) - since
            replaced = ctx.client is not former
        await caller.close()

    print(f"{path}: fresh credentials {renewed} the expiry: served {elapsed:.2f} s after")
    assert replaced
    assert elapsed < 10


async def refusal(instance_of: Start, url: str) -> tuple[int, str, float]:
    """Start the program; return its exit code, its last line, and how many seconds it took."""
    began = time.monotonic()
    instance = await instance_of(url, retry="yes")  # waiting for a server helps in none of these
    code = await instance.exit_code()
    elapsed = time.monotonic() - began
    errors = await instance.errors()
    assert "Traceback" not in errors, errors
    return code, errors.strip().splitlines()[-1], elapsed


async def test_wrong_password_ends_the_program_at_start(
    path: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_USER", "me")
    monkeypatch.setenv("NATS_PASSWORD", "wrong")
    with nats_server(config='authorization { user: me, password: "right" }') as server:
        code, line, elapsed = await refusal(start, server.url)

    print(f"{path}: ended after {elapsed:.2f} s: {line}")
    assert code == 1
    assert line == f"micro: {server.url} refused the connection: Authorization Violation"


async def test_expired_credentials_end_the_program_at_start(
    path: str, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account, creds = Account(), tmp_path / "old.creds"
    account.write_user(creds, expires=int(time.time()) - 60)
    monkeypatch.setenv("NATS_CREDS", str(creds))
    with nats_server(config=account.config) as server:
        code, line, elapsed = await refusal(start, server.url)

    print(f"{path}: ended after {elapsed:.2f} s: {line}")
    assert code == 1
    assert line.startswith(f"micro: {server.url} refused the connection: ")


async def test_certificate_of_an_unknown_authority_ends_the_program_at_start(
    path: str, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
        write_certificates(folder)
    monkeypatch.setenv("NATS_CA", str(mine / "ca.pem"))
    config = f'tls {{ cert_file: "{theirs / "both.pem"}", key_file: "{theirs / "both.key"}" }}'
    with nats_server(config=config) as server:
        code, line, elapsed = await refusal(start, server.url)

    print(f"{path}: ended after {elapsed:.2f} s: {line}")
    assert code == 1
    assert "certificate verify failed" in line.lower().replace("_", " ")


async def test_denied_subscription_ends_the_program_with_its_name(
    path: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = (
        "authorization { users = [ { user: me, password: pw, permissions: { "
        'publish: ">", subscribe: { allow: ">", deny: "echo" } } } ] }'
    )
    monkeypatch.setenv("NATS_USER", "me")
    monkeypatch.setenv("NATS_PASSWORD", "pw")
    with nats_server(config=config) as server:
        code, line, elapsed = await refusal(start, server.url)

    print(f"{path}: ended after {elapsed:.2f} s: {line}")
    assert code == 1
    assert line.startswith(
        "micro: endpoint 'echo' of service 'runtime' may not subscribe to 'echo'"
    )
