"""One service instance on a real server: what it says of itself, how it starts and stops."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import ConfigError, Request, Service, ServiceError, StoppedError
from micro._wire.fence import fence
from micro.testing import NatsServer

LONG = 60.0
"""Seconds that no test takes unless it hangs."""


UNUSED = {"in_flight": 0, "queued": 0, "rejected": 0, "expired": 0, "errors": {}}


async def echo(request: Request) -> None:
    await request.respond(request.data(), request.headers())


async def fail(request: Request) -> None:
    raise ServiceError(404, "gone")


async def discover(caller: NatsClient, verb: str, service: Service) -> Any:
    answer = await caller.request(f"$SRV.{verb}.{service.name}.{service.id}", timeout=LONG)
    assert answer.headers is None
    return json.loads(answer.data)


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


async def test_raw_answers_have_every_field(nc: NatsClient, caller: NatsClient) -> None:
    async with micro.add_service(
        nc, "raw-answers", "1.0.0", now=Clock(), id_generator=lambda: "i1"
    ) as service:
        await service.add_endpoint("e", echo, subject="raw-answers.e")
        identity = {"name": "raw-answers", "id": "i1", "version": "1.0.0", "metadata": {}}
        assert await discover(caller, "PING", service) == {
            "type": "io.nats.micro.v1.ping_response",
            **identity,
        }
        endpoint = {"name": "e", "subject": "raw-answers.e", "queue_group": "q"}
        assert await discover(caller, "INFO", service) == {
            "type": "io.nats.micro.v1.info_response",
            **identity,
            "description": "",
            "endpoints": [{**endpoint, "metadata": {}}],
        }
        assert await discover(caller, "STATS", service) == {
            "type": "io.nats.micro.v1.stats_response",
            **identity,
            "started": "2024-01-02T03:04:05.000000Z",
            "endpoints": [
                {
                    **endpoint,
                    "num_requests": 0,
                    "num_errors": 0,
                    "last_error": "",
                    "processing_time": 0,
                    "average_processing_time": 0,
                }
            ],
        }


async def test_service_without_endpoints_has_an_empty_list(
    nc: NatsClient, caller: NatsClient
) -> None:
    async with micro.add_service(nc, "bare", "1.0.0") as service:
        assert (await discover(caller, "INFO", service))["endpoints"] == []
        assert (await discover(caller, "STATS", service))["endpoints"] == []


@pytest.mark.parametrize("scope", ["", ".answers", ".answers.i1"])
@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_discovery_on_all_nine_subjects(
    nc: NatsClient, caller: NatsClient, verb: str, scope: str
) -> None:
    async with micro.add_service(nc, "answers", "1.0.0", id_generator=lambda: "i1"):
        answer = await caller.request(f"$SRV.{verb}{scope}", b"ignored payload", timeout=LONG)
    assert json.loads(answer.data)["id"] == "i1"


async def test_discovery_without_reply_or_to_a_server_subject_is_not_answered(
    nc: NatsClient, caller: NatsClient
) -> None:
    async with micro.add_service(nc, "quiet", "1.0.0") as service:
        sent = nc.stats["out_msgs"]
        await caller.publish("$SRV.PING.quiet")
        await caller.publish("$SRV.PING.quiet", reply="$JS.API.INFO")
        await fence(caller)
        await discover(caller, "PING", service)
        assert nc.stats["out_msgs"] == sent + 1


def test_id_is_a_nuid_by_default() -> None:
    ids = {micro.add_service(NatsClient(), "s", "1.0.0").id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(id) == 22 and id.isalnum() for id in ids)


async def test_models_say_what_travels(nc: NatsClient, caller: NatsClient) -> None:
    async with micro.add_service(nc, "told", "1.0.0", "what for", {"a": "1"}) as service:
        await service.add_endpoint("e", echo, subject="told.e", metadata={"b": "2"})
        assert service.info().as_dict() == await discover(caller, "INFO", service)
        assert service.stats().as_dict() == await discover(caller, "STATS", service)


async def test_requests_errors_and_times_are_counted(nc: NatsClient, caller: NatsClient) -> None:
    clock = Clock()
    client = micro.Client(caller)
    async with micro.add_service(nc, "counted", "1.0.0", now=clock) as service:
        await service.add_endpoint("good", echo, subject="counted.good")
        await service.add_endpoint("bad", fail, subject="counted.bad")
        for _ in range(3):
            await client.request("counted.good")
        with pytest.raises(ServiceError):
            await client.request("counted.bad")
        good, bad = service.stats().endpoints
        assert (good.num_requests, good.num_errors, good.last_error) == (3, 0, "")
        assert (bad.num_requests, bad.num_errors, bad.last_error) == (1, 1, "404:gone")
        assert good.processing_time > 0
        assert good.average_processing_time == good.processing_time // 3
        clock.time += timedelta(hours=1)
        service.reset()
        stats = service.stats()
        assert stats.started == clock.time
        for endpoint in stats.endpoints:
            assert (endpoint.num_requests, endpoint.num_errors) == (0, 0)
            assert (endpoint.processing_time, endpoint.last_error) == (0, "")
            assert endpoint.queue_group == "q"


async def test_groups_nest(nc: NatsClient, caller: NatsClient) -> None:
    async with micro.add_service(nc, "groups", "1.0.0") as service:
        group = service.add_group("groups").add_group("v1.math")
        endpoint = await group.add_endpoint("add", echo)
        answer = await micro.Client(caller).request("groups.v1.math.add", b"x")
        assert (endpoint.name, endpoint.subject) == ("add", "groups.v1.math.add")
        assert endpoint.queue_group == "q"
    assert answer.data == b"x"


async def test_subject_may_be_listened_on_once(nc: NatsClient) -> None:
    async with micro.add_service(nc, "twice", "1.0.0") as service:
        await service.add_endpoint("e", echo, subject="twice.e")
        with pytest.raises(ConfigError) as caught:
            await service.add_group("twice").add_endpoint("e", echo)
        assert str(caught.value) == "service 'twice' already listens on 'twice.e'"
        await service.add_endpoint("e", echo, subject="twice.other")
        assert [e.subject for e in service.info().endpoints] == ["twice.e", "twice.other"]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"name": "a b"}, "invalid service name 'a b': expected letters, digits, '-' or '_'"),
        ({"version": "1"}, "invalid version '1': expected a semantic version such as '1.0.0'"),
        ({"metadata": {"a": 1}}, "invalid metadata entry 'a': expected strings only"),
        ({"metadata": {"a": "\ud800"}}, "invalid metadata entry 'a': expected strings only"),
        ({"description": 7}, "invalid description 7: expected text"),
        ({"description": "\ud800"}, "invalid description '\\ud800': expected text"),
        (
            {"metadata": {"_nats.a": "1"}},
            "invalid metadata key '_nats.a': expected a name that does not begin with '_nats'",
        ),
        (
            {"metadata": {"a": "x" * 131072}},
            "metadata of 131073 bytes is too large: expected at most 131072",
        ),
        (
            {"queue_group": "a b"},
            "invalid queue group 'a b': expected tokens separated by dots, without wildcards",
        ),
        (
            {"id_generator": lambda: "a.b"},
            "invalid instance name 'a.b': expected letters, digits, '-' or '_'",
        ),
        (
            {"api_prefix": "a.*"},
            "invalid API prefix 'a.*': expected tokens separated by dots, without wildcards",
        ),
    ],
)
def test_unusable_declarations_are_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        micro.add_service(NatsClient(), **{"name": "s", "version": "1.0.0", **keywords})
    assert str(caught.value) == message


async def test_metadata_is_copied(nc: NatsClient) -> None:
    metadata = {"a": "1"}
    service = micro.add_service(nc, "copied", "1.0.0", metadata=metadata)
    metadata["a"] = "2"
    assert service.info().metadata == {"a": "1"}


async def test_own_metadata_goes_before_generated(nc: NatsClient) -> None:
    async def typed(value: int) -> int:
        return value

    async with micro.add_service(nc, "own", "1.0.0") as service:
        await service.add_endpoint("e", typed, metadata={"micro.request.schema": "mine"})
        (endpoint,) = service.info().endpoints
    assert endpoint.metadata["micro.request.schema"] == "mine"


async def test_schemas_become_hashes_when_info_would_be_too_large(
    nc: NatsClient, caller: NatsClient
) -> None:
    wide = Literal[tuple(f"value-{number:05}" for number in range(3000))]  # type: ignore[valid-type]  # too long to write

    class Wide(BaseModel):
        one: wide  # type: ignore[valid-type]  # as above

    async def small(value: int) -> None:
        return None

    async def large(value: Any) -> None:
        return None

    large.__annotations__["value"] = Wide
    async with micro.add_service(nc, "large", "1.0.0") as service:
        await service.add_endpoint("small", small)
        before = await discover(caller, "INFO", service)
        await service.add_endpoint("large1", large)
        await service.add_endpoint("large2", large)
        after = await discover(caller, "INFO", service)
    schema = '{"type":"integer"}'
    (endpoint,) = before["endpoints"]
    assert endpoint["metadata"] == {"micro.request.schema": schema}
    assert [list(endpoint["metadata"]) for endpoint in after["endpoints"]] == [
        ["micro.request.schema.sha256"]
    ] * 3
    digest = hashlib.sha256(schema.encode()).hexdigest()
    assert after["endpoints"][0]["metadata"]["micro.request.schema.sha256"] == digest


async def test_idle_service_can_be_measured_from_another_thread(nc: NatsClient) -> None:
    async with micro.add_service(nc, "idle", "1.0.0") as service:
        await service.add_endpoint("idle", echo)
        (endpoint,) = (await asyncio.to_thread(service.stats)).endpoints
    assert (endpoint.num_requests, endpoint.data) == (0, None)


async def test_stats_handlers_sync_and_async(nc: NatsClient, caller: NatsClient) -> None:
    def sync(endpoint: micro.Endpoint) -> dict[str, str]:
        return {"name": endpoint.name}

    async def later(endpoint: micro.Endpoint) -> list[str]:
        return [endpoint.subject]

    async with micro.add_service(nc, "data", "1.0.0") as service:
        await service.add_endpoint("sync", echo, subject="data.sync", stats_handler=sync)
        await service.add_endpoint("later", echo, subject="data.later", stats_handler=later)
        await service.add_endpoint("none", echo, subject="data.none", stats_handler=lambda _: {})
        answer = await discover(caller, "STATS", service)
        assert service.stats().as_dict() == answer
    one, two, three = answer["endpoints"]
    assert one["data"] == {"micro": one["data"]["micro"], "name": "sync"}
    assert two["data"] == {"micro": two["data"]["micro"], "user": ["data.later"]}
    assert "data" not in three


@pytest.mark.parametrize(
    "found", [object(), float("nan"), {1, 2}, "\ud800", RuntimeError("of the handler")]
)
async def test_stats_handler_that_fails_costs_only_its_own_data(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture, found: Any
) -> None:
    def bad(endpoint: micro.Endpoint) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    async with micro.add_service(nc, "bad-data", "1.0.0") as service:
        await service.add_endpoint("bad", echo, subject="bad-data.bad", stats_handler=bad)
        await service.add_endpoint(
            "good", echo, subject="bad-data.good", stats_handler=lambda endpoint: 1
        )
        one, two = (await discover(caller, "STATS", service))["endpoints"]
    assert "data" not in one
    assert two["data"] == {"micro": UNUSED, "user": 1}
    assert [r.message for r in caplog.records] == ["bad-data/bad: stats_handler failed"]


async def test_error_handler_is_told_of_each_error(nc: NatsClient, caller: NatsClient) -> None:
    told: list[tuple[str, BaseException]] = []

    def handler(service: Service, error: BaseException) -> None:
        told.append((service.name, error))

    async def broken(request: Request) -> None:
        raise KeyError("bug")

    client = micro.Client(caller)
    async with micro.add_service(nc, "told-errors", "1.0.0", error_handler=handler) as service:
        await service.add_endpoint("fail", fail, subject="told-errors.fail")
        await service.add_endpoint("broken", broken, subject="told-errors.broken")
        for endpoint in ("fail", "broken"):
            with pytest.raises(ServiceError):
                await client.request(f"told-errors.{endpoint}")
    assert [name for name, _ in told] == ["told-errors"] * 2
    assert isinstance(told[0][1], ServiceError)
    assert isinstance(told[1][1], KeyError)


async def test_callbacks_may_be_async_and_may_raise(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[BaseException | None] = []

    async def on_error(service: Service, error: BaseException) -> None:
        raise RuntimeError("of the error handler")

    async def on_done(service: Service, error: BaseException | None) -> None:
        await asyncio.sleep(0)
        done.append(error)

    service = micro.add_service(
        nc, "callbacks", "1.0.0", error_handler=on_error, done_handler=on_done
    )
    async with service:
        await service.add_endpoint("fail", fail, subject="callbacks.fail")
        with pytest.raises(ServiceError):
            await micro.Client(caller).request("callbacks.fail")
    assert done == [None]
    assert "service callbacks: callback failed" in caplog.text
    assert "of the error handler" in caplog.text


async def test_raising_done_handler_does_not_break_stop(
    nc: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    def on_done(service: Service, error: BaseException | None) -> None:
        raise RuntimeError("of the done handler")

    async with micro.add_service(nc, "done", "1.0.0", done_handler=on_done) as service:
        pass
    assert service.stopped()
    assert "of the done handler" in caplog.text


async def test_endpoints_need_a_running_service(nc: NatsClient) -> None:
    service = micro.add_service(nc, "idle", "1.0.0")
    message = "service 'idle' is not running: await start() first, or use 'async with'"
    with pytest.raises(StoppedError) as caught:
        await service.add_endpoint("e", echo)
    assert str(caught.value) == message
    await service.start()
    await service.stop()
    with pytest.raises(StoppedError) as caught:
        await service.add_group("g").add_endpoint("e", echo)
    assert str(caught.value) == message


async def test_starting_twice_does_nothing(nc: NatsClient, caller: NatsClient) -> None:
    service = micro.add_service(nc, "restarted", "1.0.0")
    await service.start()
    await service.start()
    assert not service.stopped()
    assert len(await micro.Client(caller).ping("restarted", LONG, max_interval=0.5)) == 1
    await service.stop()


async def test_stopped_service_cannot_be_started(nc: NatsClient) -> None:
    async with micro.add_service(nc, "ended", "1.0.0") as service:
        pass
    with pytest.raises(StoppedError) as caught:
        await service.start()
    assert str(caught.value) == "service 'ended' has been stopped: create a new one"


async def test_stopping_twice_does_nothing(nc: NatsClient, caller: NatsClient) -> None:
    done: list[object] = []
    service = micro.add_service(
        nc, "stopped", "1.0.0", done_handler=lambda service, error: done.append(error)
    )
    await service.start()
    assert not service.stopped()
    await asyncio.gather(service.stop(), service.stop())
    await service.stop()
    assert service.stopped()
    assert done == [None]
    with pytest.raises(nats.errors.NoRespondersError):
        await caller.request("$SRV.PING.stopped")


async def test_stopping_what_was_never_started(nc: NatsClient) -> None:
    service = micro.add_service(nc, "never", "1.0.0")
    await service.stop()
    assert service.stopped()


async def test_stop_finishes_what_is_in_flight_and_ends_discovery(
    nc: NatsClient, caller: NatsClient
) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> None:
        entered.set()
        await release.wait()
        await request.respond(b"finished")

    service = micro.add_service(nc, "draining", "1.0.0")
    await service.start()
    await service.add_endpoint("slow", slow, subject="draining.slow")
    answer = asyncio.create_task(caller.request("draining.slow", timeout=LONG))
    await entered.wait()
    stopping = asyncio.create_task(service.stop())
    while True:  # until the endpoint has left
        try:
            await caller.request("draining.slow", timeout=0.01)
        except nats.errors.NoRespondersError:
            break
        except nats.errors.TimeoutError:
            continue
    assert not service.stopped()
    assert (await discover(caller, "PING", service))["id"] == service.id
    release.set()
    assert (await answer).data == b"finished"
    await stopping
    with pytest.raises(nats.errors.NoRespondersError):
        await caller.request("$SRV.PING.draining")


async def test_stop_cancels_after_its_time_and_answers_503(
    nc: NatsClient, caller: NatsClient
) -> None:
    entered = asyncio.Event()

    async def stuck(request: Request) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with micro.add_service(nc, "bounded", "1.0.0") as service:
        await service.add_endpoint("stuck", stuck, subject="bounded.stuck")
        asking = asyncio.create_task(micro.Client(caller).request("bounded.stuck", timeout=LONG))
        await entered.wait()
        await service.stop(timeout=0)
        with pytest.raises(ServiceError) as caught:
            await asking
        assert (caught.value.code, caught.value.description) == (503, "service stopped")


async def stop_in_handler(
    nc: NatsClient, caller: NatsClient, name: str, stop: Callable[[Service], Awaitable[None]]
) -> None:
    """Stop a service from two of its handlers at once; both are answered, and at once."""
    stopped: list[str] = []

    async def handler(request: Request) -> None:
        await stop(service)
        stopped.append(request.subject())
        await request.respond(b"stopped")

    service = micro.add_service(nc, name, "1.0.0")
    await service.start()
    for endpoint in ("one", "two"):
        await service.add_endpoint(endpoint, handler, subject=f"{name}.{endpoint}")
    answers = [
        asyncio.create_task(caller.request(f"{name}.{endpoint}", timeout=LONG))
        for endpoint in ("one", "one", "two")
    ]
    # Far below the 30 s after which the requests would be cancelled.
    async with asyncio.timeout(15):
        assert [(await answer).data for answer in answers] == [b"stopped"] * 3
    assert sorted(stopped) == [f"{name}.one", f"{name}.one", f"{name}.two"]
    await service.stop()
    assert service.stopped()


async def test_stop_from_handlers(nc: NatsClient, caller: NatsClient) -> None:
    await stop_in_handler(nc, caller, "self-stop", lambda service: service.stop())


async def test_stop_from_a_single_handler(nc: NatsClient, caller: NatsClient) -> None:
    async def handler(request: Request) -> None:
        await service.stop()
        await request.respond(b"stopped")

    async with micro.add_service(nc, "single-stop", "1.0.0") as service:
        await service.add_endpoint("stop", handler, subject="single-stop.stop")
        async with asyncio.timeout(15):
            answer = await caller.request("single-stop.stop", timeout=LONG)
    assert answer.data == b"stopped"


async def test_error_in_the_block_comes_out_and_stops_the_service(nc: NatsClient) -> None:
    with pytest.raises(KeyError, match="of the block"):
        async with micro.add_service(nc, "leaving", "1.0.0") as service:
            raise KeyError("of the block")
    assert service.stopped()


async def test_service_stops_on_a_closed_connection(nc: NatsClient) -> None:
    done: list[object] = []
    service = micro.add_service(
        nc, "cut", "1.0.0", done_handler=lambda service, error: done.append(error)
    )
    await service.start()
    await service.add_endpoint("e", echo, subject="cut.e")
    await nc.close()
    await service.stop()
    assert service.stopped()
    assert done == [None]


async def test_service_cannot_start_on_a_closed_connection(nc: NatsClient) -> None:
    await nc.close()
    service = micro.add_service(nc, "closed", "1.0.0")
    with pytest.raises((nats.errors.Error, micro.MicroError)):
        await service.start()
    assert not service.stopped()


async def test_moving_to_another_connection_loses_nothing(
    server: NatsServer, nc: NatsClient, caller: NatsClient
) -> None:
    other = await nats.connect(server.url)
    async with micro.add_service(nc, "moving", "1.0.0") as service:
        await service.add_endpoint("echo", echo, subject="moving.echo")
        sent = [
            asyncio.create_task(caller.request("moving.echo", b"%d" % number, timeout=LONG))
            for number in range(200)
        ]
        await service.__instance__.move(other)
        answers = [(await answer).data for answer in sent]
        await service.__instance__.move(other)  # does nothing
        await nc.close()
        assert (await caller.request("moving.echo", b"x", timeout=LONG)).data == b"x"
        assert (await discover(caller, "PING", service))["id"] == service.id
    assert answers == [b"%d" % number for number in range(200)]
    await other.close()


async def test_stopped_service_does_not_move(
    server: NatsServer, nc: NatsClient, caller: NatsClient
) -> None:
    other = await nats.connect(server.url)
    async with micro.add_service(nc, "unmoved", "1.0.0") as service:
        pass
    await service.__instance__.move(other)
    with pytest.raises(nats.errors.NoRespondersError):
        await caller.request("$SRV.PING.unmoved")
    await other.close()


async def test_cancelled_stop_tells_the_done_handler(nc: NatsClient, caller: NatsClient) -> None:
    done: list[BaseException | None] = []
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> None:
        entered.set()
        await release.wait()
        await request.respond(b"")

    service = micro.add_service(
        nc, "cancelled-stop", "1.0.0", done_handler=lambda service, error: done.append(error)
    )
    await service.start()
    await service.add_endpoint("slow", slow, subject="cancelled-stop.slow")
    await caller.publish("cancelled-stop.slow")
    await entered.wait()
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert service.stopped()
    assert [type(error) for error in done] == [asyncio.CancelledError]


async def test_abort_ends_a_stop_under_way(nc: NatsClient, caller: NatsClient) -> None:
    entered = asyncio.Event()

    async def stuck(request: Request) -> None:
        entered.set()
        await asyncio.Event().wait()

    service = micro.add_service(nc, "aborted", "1.0.0")
    await service.start()
    await service.add_endpoint("stuck", stuck, subject="aborted.stuck")
    asking = asyncio.create_task(micro.Client(caller).request("aborted.stuck", timeout=LONG))
    await entered.wait()
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    await service.__instance__.abort()
    with pytest.raises(ServiceError, match="service error 503: service stopped"):
        await asking
    await stopping
