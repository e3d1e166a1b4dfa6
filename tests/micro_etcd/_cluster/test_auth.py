"""P14: tokens expire and nobody notices; permissions are enforced and their loss is told."""

import asyncio
import os
import subprocess
from collections.abc import Iterator

import pytest
from tests.micro_etcd.history import reading
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import (
    EtcdClient,
    EtcdCredential,
    EtcdPermissionDeniedError,
    EtcdUnauthenticatedError,
)
from micro_etcd.testing import EtcdServer

ROOT = EtcdCredential("root", "secret")
APP = EtcdCredential("app", "app-secret")
AUTHENTICATIONS = (
    'grpc_server_started_total{grpc_method="Authenticate",'
    'grpc_service="etcdserverpb.Auth",grpc_type="unary"}'
)


def ctl(binaries: Binaries, server: EtcdServer, *command: str) -> None:
    subprocess.run(
        [binaries.etcdctl, f"--endpoints={server.address}", *command],
        env={**os.environ, "ETCDCTL_API": "3"},
        check=True,
        capture_output=True,
    )


@pytest.fixture
def guarded(binaries: Binaries) -> Iterator[EtcdServer]:
    """A server with authentication, tokens of 1 s, and a user `app` who may use `/app/`."""
    with EtcdServer(binaries.etcd, arguments=["--auth-token-ttl=1"]) as server:
        for command in (
            ["user", "add", "root:secret"],
            ["user", "grant-role", "root", "root"],
            ["user", "add", "app:app-secret"],
            ["role", "add", "app"],
            ["role", "grant-permission", "app", "--prefix=true", "readwrite", "/app/"],
            ["user", "grant-role", "app", "app"],
            ["auth", "enable"],
        ):
            ctl(binaries, server, *command)
        yield server


def as_root(binaries: Binaries, server: EtcdServer, *command: str) -> None:
    ctl(binaries, server, "--user=root:secret", *command)


@every_version
async def test_expired_tokens_are_renewed_unseen(guarded: EtcdServer) -> None:
    """For kv, watch and lease; callers that come together share one renewal."""
    client = EtcdClient(guarded.address, APP)
    async with client.connect() as communicator, reading(communicator, "/app/") as reader:
        lease = await communicator.grant_lease(30)
        await communicator.put("/app/k", "1")
        await asyncio.sleep(3)  # tokens live for 1 s and are swept every second
        before = guarded.metric(AUTHENTICATIONS)
        watch = communicator.watch_prefix("/app/")
        values = await asyncio.gather(
            *(communicator.get("/app/k", serializable=number % 2 == 0) for number in range(20)),
            communicator.put("/app/k", "2"),
            communicator.leases.keep_alive(lease),
            watch.stream.start(),
        )
        assert guarded.metric(AUTHENTICATIONS) - before == 1
        assert values[0] in ("1", "2")
        put = await communicator.kv.put(b"/app/k", b"3")
        async for event in watch:
            if event.value == "3":
                break
        await reader.until(put.revision)

    assert [value for _, _, value in reader.lines] == [b"1", b"2", b"3"]


@every_version
async def test_watch_resumes_after_its_token_expired(guarded: EtcdServer) -> None:
    async with (
        Proxy(guarded.address) as proxy,
        EtcdClient(proxy.address, APP).connect() as cut,
        EtcdClient(guarded.address, APP).connect() as direct,
        reading(cut, "/app/") as reader,
    ):
        await proxy.refuse()
        await direct.put("/app/a", "1")
        await asyncio.sleep(3)
        await proxy.accept()
        last = (await direct.kv.put(b"/app/a", b"2")).revision
        await reader.until(last)

    assert [value for _, _, value in reader.lines] == [b"1", b"2"]


@every_version
async def test_permission_loss_ends_a_watch(guarded: EtcdServer, binaries: Binaries) -> None:
    """P5: told, not retried for ever."""
    async with (
        Proxy(guarded.address) as proxy,
        EtcdClient(proxy.address, APP).connect() as communicator,
        reading(communicator, "/app/") as reader,
    ):
        await asyncio.to_thread(
            as_root, binaries, guarded, "role", "revoke-permission", "app", "--prefix=true", "/app/"
        )
        proxy.cut()
        with pytest.raises(EtcdPermissionDeniedError):
            await reader.until(1 << 40)


@every_version
async def test_keys_of_others_are_denied(guarded: EtcdServer) -> None:
    async with EtcdClient(guarded.address, APP).connect() as communicator:
        with pytest.raises(EtcdPermissionDeniedError):
            await communicator.put("/other/k", "v")
        with pytest.raises(EtcdPermissionDeniedError):
            await communicator.get("/other/k")
        with pytest.raises(EtcdPermissionDeniedError):
            await anext(communicator.watch("/other/k"))
        # One that may not be read spoils nothing for those asked for together with it.
        answers = await asyncio.gather(
            communicator.get("/app/none"), communicator.get("/other/k"), return_exceptions=True
        )
        assert answers[0] is None
        assert isinstance(answers[1], EtcdPermissionDeniedError)


@every_version
async def test_wrong_password_is_told_on_connect(guarded: EtcdServer) -> None:
    with pytest.raises(EtcdUnauthenticatedError, match="authentication failed"):
        async with EtcdClient(guarded.address, EtcdCredential("app", "wrong")).connect():
            pass


async def test_no_credentials_where_they_are_needed(guarded: EtcdServer) -> None:
    async with EtcdClient(guarded.address).connect() as communicator:
        with pytest.raises(EtcdUnauthenticatedError):
            await communicator.get("/app/k")


async def test_credentials_are_unused_where_auth_is_off(shared_server: EtcdServer) -> None:
    async with EtcdClient(shared_server.address, APP).connect() as communicator:
        assert await communicator.get("none") is None


async def test_auth_enabled_later_is_not_noticed(guarded: EtcdServer, binaries: Binaries) -> None:
    as_root(binaries, guarded, "auth", "disable")
    async with EtcdClient(guarded.address, APP).connect() as communicator:
        await communicator.put("/app/k", "1")
        await asyncio.to_thread(ctl, binaries, guarded, "auth", "enable")
        assert await communicator.get("/app/k") == "1"
        await communicator.put("/app/k", "2")


def test_password_is_not_in_the_repr() -> None:
    assert repr(APP) == "EtcdCredential(username='app')"
