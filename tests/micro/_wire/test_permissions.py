"""A server that refuses subscriptions: services and endpoints fail by name."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import PermissionDeniedError, Request, options
from micro.health import Health
from micro.testing import NatsServer, free_port, nats_server

CONFIG = """
authorization {
  users = [
    { user: "limited", password: "pw", permissions: {
        publish: ">",
        subscribe: { allow: ["_INBOX.>", "$SRV.>", "Open.>"], deny: "Open.Closed" } } }
    { user: "hidden", password: "pw", permissions: {
        publish: ">", subscribe: ["_INBOX.>", "Open.>"] } }
    { user: "queue", password: "pw", permissions: {
        publish: ">", subscribe: ["_INBOX.>", "$SRV.>", "Open.* q"] } }
    { user: "free", password: "pw" }
  ]
}
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[NatsServer]:
    with nats_server(config=CONFIG) as server:
        yield server


async def ignore(error: Exception) -> None:
    return


@pytest.fixture
async def limited(guarded: NatsServer) -> AsyncIterator[NatsClient]:
    client = await nats.connect(guarded.url, user="limited", password="pw", error_cb=ignore)
    yield client
    await client.close()


async def echo(request: Request) -> None:
    await request.respond(request.data())


async def test_refused_endpoint_fails_by_name_and_the_service_lives(limited: NatsClient) -> None:
    async with micro.add_service(limited, "guarded", "1.0.0") as service:
        with pytest.raises(PermissionDeniedError) as caught:
            await service.add_endpoint("closed", echo, subject="Open.Closed")
        assert caught.value.subjects == ("Open.Closed",)
        assert str(caught.value) == (
            "endpoint 'closed' of service 'guarded' may not subscribe to 'Open.Closed': "
            "grant the user subscribe permission for it, with the queue group if one is bound"
        )
        await service.add_endpoint("open", echo, subject="Open.one")
        assert [endpoint.name for endpoint in service.info().endpoints] == ["open"]
        assert (await micro.Client(limited).request("Open.one", b"x")).data == b"x"


async def test_each_of_several_endpoints_added_at_once_fails_for_itself(
    limited: NatsClient,
) -> None:
    subjects = ["Open.one", "Open.Closed", "elsewhere", "Open.two"]
    async with micro.add_service(limited, "at-once", "1.0.0") as service:
        found = await asyncio.gather(
            *(
                service.add_endpoint(f"e{number}", echo, subject=subject)
                for number, subject in enumerate(subjects)
            ),
            return_exceptions=True,
        )
        served = {endpoint.subject for endpoint in service.info().endpoints}
    refused = {error.subjects for error in found if isinstance(error, PermissionDeniedError)}
    assert refused == {("Open.Closed",), ("elsewhere",)}
    assert served == {"Open.one", "Open.two"}


async def test_refused_discovery_fails_the_start_by_name(guarded: NatsServer) -> None:
    context = micro.Context()
    async with context:
        await context.connect(options.servers(guarded.url), options.user_password("hidden", "pw"))
        with pytest.raises(PermissionDeniedError) as caught:
            await context.add_service("hidden", "1.0.0", id_generator=lambda: "i1")
    assert set(caught.value.subjects) == {
        f"$SRV.{verb}{scope}"
        for verb in ("PING", "INFO", "STATS")
        for scope in ("", ".hidden", ".hidden.i1")
    }
    assert str(caught.value).startswith("service 'hidden' may not subscribe to '$SRV.PING', ")


async def test_permission_may_be_bound_to_the_queue_group(guarded: NatsServer) -> None:
    client = await nats.connect(guarded.url, user="queue", password="pw", error_cb=ignore)
    async with micro.add_service(client, "queued", "1.0.0") as service:
        await service.add_endpoint("right", echo, subject="Open.right")
        with pytest.raises(PermissionDeniedError) as caught:
            await service.add_endpoint("wrong", echo, subject="Open.wrong", queue_group="other")
    assert caught.value.subjects == ("Open.wrong",)
    await client.close()


async def test_earlier_refusal_does_not_stick(tmp_path: Path) -> None:
    """What the server refused once may be subscribed to once it allows it."""
    config = 'authorization {{ users = [{{ user: "u", password: "p", permissions: {{ {} }} }}] }}'
    path = tmp_path / "server.conf"
    path.write_text(config.format('publish: ">", subscribe: ["_INBOX.>", "$SRV.>"]'))
    with nats_server("-c", str(path)) as server:
        client = await nats.connect(server.url, user="u", password="p", error_cb=ignore)
        async with micro.add_service(client, "again", "1.0.0") as service:
            with pytest.raises(PermissionDeniedError):
                await service.add_endpoint("e", echo, subject="Open.Again")
            path.write_text(config.format('publish: ">", subscribe: ">"'))
            server.process.send_signal(signal.SIGHUP)
            while True:
                try:
                    endpoint = await service.add_endpoint("e", echo, subject="Open.Again")
                except PermissionDeniedError:
                    continue
                break
            assert endpoint.subject == "Open.Again"
        await client.close()


async def test_error_callback_of_the_connection_still_hears(guarded: NatsServer) -> None:
    heard: list[str] = []

    async def hear(error: Exception) -> None:
        heard.append(str(error).lower())

    client = await nats.connect(guarded.url, user="limited", password="pw", error_cb=hear)
    async with micro.add_service(client, "heard", "1.0.0") as service:
        for _ in range(2):
            with pytest.raises(PermissionDeniedError):
                await service.add_endpoint("closed", echo, subject="Open.Closed")
    assert len(heard) == 2
    assert all("open.closed" in text for text in heard)
    await client.close()


async def test_other_errors_are_no_refusals(limited: NatsClient) -> None:
    async with micro.add_service(limited, "other", "1.0.0") as service:
        await limited.publish("$SYS.forbidden")
        await service.add_endpoint("e", echo, subject="Open.two")
    assert service.stopped()


async def test_run_reports_a_refusal_in_one_line(guarded: NatsServer) -> None:
    async def setup(ctx: micro.Context) -> None:
        service = await ctx.add_service("guarded", "1.0.0")
        await service.add_endpoint("closed", echo, subject="Open.Closed")

    def run() -> None:
        micro.run(setup, options.servers(guarded.url), options.user_password("limited", "pw"))

    with pytest.raises(SystemExit) as caught:
        await asyncio.to_thread(run)
    assert str(caught.value).startswith("micro: endpoint 'closed' of service 'guarded' may not")
    assert "\n" not in str(caught.value)


# --- permissions and limits that change under a running service ----------------------------------

CHANGING = """
authorization {{ users: [
  {{ user: shop, password: pw, permissions: {{
      publish: {{ allow: ["_INBOX.>"] }}, subscribe: {{ allow: [{allowed}] }} }} }}
  {{ user: caller, password: pw }}
] }}
"""
ALL, WITHOUT_ENDPOINT = '"shop.> q", "$SRV.>", "_INBOX.>"', '"$SRV.>", "_INBOX.>"'
WITHOUT_DISCOVERY = '"shop.> q", "_INBOX.>"'


@pytest.fixture(params=["fast", "public"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MICRO_TRANSPORT", request.param)
    return str(request.param)


class Changing:
    """A server whose permissions change by a reload."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "changing.conf"
        self.allow(ALL)

    def allow(self, subjects: str) -> None:
        self._file.write_text(CHANGING.format(allowed=subjects))

    def reload(self, server: NatsServer, subjects: str) -> None:
        self.allow(subjects)
        server.process.send_signal(signal.SIGHUP)

    @contextlib.contextmanager
    def run(self, port: int | None = None) -> Iterator[NatsServer]:
        with nats_server("-c", str(self._file), port=port) as server:
            yield server


class Told:
    """The errors that an error handler is called with."""

    def __init__(self) -> None:
        self.errors: asyncio.Queue[BaseException] = asyncio.Queue()

    def __call__(self, service: micro.Service, error: BaseException) -> None:
        self.errors.put_nowait(error)

    async def of(self, subject: str) -> None:
        async with asyncio.timeout(20):
            while subject not in str(await self.errors.get()):
                continue


async def answered(url: str, subject: str) -> None:
    async with asyncio.timeout(20), await nats.connect(url, user="caller", password="pw") as nc:
        while True:
            with contextlib.suppress(nats.errors.Error):
                if (await nc.request(subject, b"", timeout=0.2)) is not None:
                    return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def shop(url: str, told: Told) -> AsyncIterator[tuple[micro.Context, micro.Service]]:
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(url), options.user_password("shop", "pw"))
        service = await ctx.add_service("shop", "1.0.0", error_handler=told)
        await service.add_endpoint("order", echo, "shop.order")
        yield ctx, service


@pytest.mark.parametrize(
    ("allowed", "lost", "question"),
    [
        (WITHOUT_ENDPOINT, "shop.order", "shop.order"),
        (WITHOUT_DISCOVERY, "$SRV.PING.shop", "$SRV.PING.shop"),
    ],
    ids=["endpoint", "discovery"],
)
async def test_a_dropped_subscription_is_named_and_made_again(
    tmp_path: Path, path: str, allowed: str, lost: str, question: str
) -> None:
    changing, told = Changing(tmp_path), Told()
    with changing.run() as server:
        async with shop(server.url, told) as (ctx, service):
            changing.reload(server, allowed)
            await told.of(lost)
            assert lost in service.refused()
            assert (await Health(ctx).ready()).checks["services"] == "failed"

            changing.reload(server, ALL)
            await answered(server.url, question)
            async with asyncio.timeout(20):
                while service.refused():
                    await asyncio.sleep(0.05)
            assert (await Health(ctx).ready()).healthy


async def test_a_subscription_refused_at_a_restart_is_made_again(tmp_path: Path, path: str) -> None:
    changing, told, port = Changing(tmp_path), Told(), free_port()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(changing.run(port))
        async with shop(server.url, told):
            server.stop()
            changing.allow(WITHOUT_ENDPOINT)
            again = await asyncio.to_thread(stack.enter_context, changing.run(port))
            await told.of("shop.order")
            changing.reload(again, ALL)
            await answered(again.url, "shop.order")


async def test_a_replacement_serves_what_its_permissions_allow(tmp_path: Path, path: str) -> None:
    changing, told = Changing(tmp_path), Told()
    with changing.run() as server:
        async with shop(server.url, told) as (ctx, service):
            await service.add_endpoint("other", echo, "_INBOX.shop.other")
            changing.reload(server, WITHOUT_ENDPOINT)
            await told.of("shop.order")
            await ctx.client.close()
            await answered(server.url, "_INBOX.shop.other")
            assert service.refused() == ("shop.order",)
            changing.reload(server, ALL)
            await answered(server.url, "shop.order")


async def test_a_dropped_inbox_is_subscribed_to_again_with_the_next_request(
    tmp_path: Path, path: str
) -> None:
    changing, told = Changing(tmp_path), Told()
    with changing.run() as server:
        async with shop(server.url, told) as (ctx, service):
            await service.add_endpoint("echo", echo, "_INBOX.echo")
            client = micro.Client(ctx.client)
            assert (await client.request("_INBOX.echo", b"x", timeout=2)).data == b"x"
            changing.reload(server, '"_INBOX.echo q"')
            await told.of("shop.order")
            with pytest.raises(nats.errors.TimeoutError):
                await client.request("_INBOX.echo", timeout=0.2)
            changing.reload(server, ALL)
            await answered(server.url, "shop.order")
            assert (await client.request("_INBOX.echo", b"y", timeout=2)).data == b"y"


@pytest.mark.parametrize("own_client", [False, True], ids=["context", "client of the user"])
async def test_the_limit_of_subscriptions_refuses_the_endpoint_and_no_other(
    path: str, own_client: bool
) -> None:
    with nats_server(config="max_subscriptions: 11\n") as server:
        client = await nats.connect(server.url, error_cb=ignore) if own_client else None
        async with micro.Context(client) as ctx:
            await ctx.connect(options.servers(server.url))
            service = await ctx.add_service("echo", "1.0.0")
            for name in ("one", "two"):
                await service.add_endpoint(name, echo)
            with pytest.raises(
                micro.ConnectError,
                match=r"^endpoint 'three' of service 'echo': the server refuses the "
                r"subscription: maximum subscriptions exceeded$",
            ):
                await service.add_endpoint("three", echo)
            assert service.refused() == ()
            async with await nats.connect(server.url) as caller:
                for name in ("one", "two"):
                    assert (await caller.request(name, b"x", timeout=2)).data == b"x"
        if client is not None:
            await client.close()
