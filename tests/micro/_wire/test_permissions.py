"""A server that refuses subscriptions: services and endpoints fail by name."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import PermissionDeniedError, Request, options
from micro.testing import NatsServer, nats_server

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
