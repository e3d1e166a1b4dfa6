"""P14: tokens expire and nobody notices; permissions are enforced and their loss is told."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.micro_etcd.guarded import APP, SIMPLE, as_root, ctl, guarded, jwt
from tests.micro_etcd.history import reading
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import (
    EtcdClient,
    EtcdCommunicator,
    EtcdCredential,
    EtcdPermissionDeniedError,
    EtcdUnauthenticatedError,
)
from micro_etcd.testing import EtcdServer

AUTHENTICATIONS = (
    'grpc_server_started_total{grpc_method="Authenticate",'
    'grpc_service="etcdserverpb.Auth",grpc_type="unary"}'
)


@pytest.fixture(name="guarded")
def guarded_server(binaries: Binaries) -> Iterator[EtcdServer]:
    with guarded(binaries) as server:
        yield server


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


@pytest.fixture(params=["simple", "jwt"])
def tokens(request: pytest.FixtureRequest, tmp_path: Path) -> Sequence[str]:
    """Return the arguments for each kind of token."""
    return SIMPLE if request.param == "simple" else jwt(tmp_path)


async def use(client: EtcdCommunicator[str]) -> None:
    """Call everything that carries a token."""
    await client.get("/app/k")
    await client.put("/app/k", "1")
    await client.txn(lambda action: action.put("/app/k", "2"))
    await client.get_prefix("/app/")
    await client.revoke_lease(await client.grant_lease(5))
    watch = client.watch("/app/k")
    await watch.stream.start()
    await client.put("/app/k", "3")
    assert (await anext(watch)).value == "3"
    await watch.aclose()
    assert [status.errors for status in await client.status()] == [[]]


@every_version
async def test_tokens_of_each_kind_are_renewed(tokens: Sequence[str], binaries: Binaries) -> None:
    with guarded(binaries, tokens) as server:
        async with EtcdClient(server.address, APP).connect() as client:
            await use(client)
            as_root(binaries, server, "user", "add", "other:pw")  # outdates every JWT
            await use(client)
            await asyncio.sleep(3)  # tokens live for 1 s
            assert [status.errors for status in await client.status()] == [[]]
            await asyncio.sleep(3)
            await use(client)


@every_version
async def test_authentication_is_switched_off_and_on_while_connected(
    tokens: Sequence[str], binaries: Binaries
) -> None:
    with guarded(binaries, tokens) as server:
        async with EtcdClient(server.address, APP).connect() as client:
            seen: list[str] = []
            reading = asyncio.create_task(_collect(client, seen))
            await use(client)
            as_root(binaries, server, "auth", "disable")
            await use(client)
            await asyncio.sleep(3)  # until the token has expired
            await use(client)
            ctl(binaries, server, "auth", "enable")
            await use(client)
            await client.put("/app/k", "end")
            async with asyncio.timeout(30):
                await reading

    assert seen == [*"123" * 4, "end"]


async def _collect(client: EtcdCommunicator[str], seen: list[str]) -> None:
    async for event in client.watch("/app/k"):
        seen.append(event.value)
        if event.value == "end":
            return


@every_version
async def test_a_new_password_reaches_a_client_that_is_connected(
    tokens: Sequence[str], binaries: Binaries
) -> None:
    password = "app-secret"
    with guarded(binaries, tokens) as server:
        credential = EtcdCredential("app", lambda: password)
        async with EtcdClient(server.address, credential).connect() as client:
            await use(client)
            command = ("user", "passwd", "app", "--interactive=false")
            as_root(binaries, server, *command, text="new\n")
            with pytest.raises(EtcdUnauthenticatedError):
                await client.put("/app/k", "refused")
            password = "new"
            await use(client)


def test_the_password_is_in_no_repr() -> None:
    assert "secret" not in repr(EtcdCredential("app", "app-secret"))
