"""What endpoints inherit of groups and services."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import ConfigError, Request
from micro._endpoint.endpoint import Endpoint, EndpointConfig
from micro._endpoint.options import EndpointOptions
from micro._events.declaring import Scope
from micro._service.groups import EndpointOwner


async def handler(request: Request) -> None:
    await request.respond(b"")


class Recorder(EndpointOwner):
    """An owner that keeps what it would add."""

    def __init__(self, **scope: Any) -> None:
        said = {name: value for name, value in scope.items() if value is not None}
        super().__init__(Scope("s", "i", "", EndpointOptions(**said)), self.record)
        self.added: list[EndpointConfig] = []

    async def record(self, config: EndpointConfig, handler: Any, make: Any) -> Endpoint:
        self.added.append(config)
        return None  # type: ignore[return-value]  # nobody looks at it

    @property
    def only(self) -> EndpointConfig:
        (config,) = self.added
        return config


@pytest.mark.parametrize("endpoint", [None, "", "of-endpoint"])
@pytest.mark.parametrize("inner", [None, "", "of-inner"])
@pytest.mark.parametrize("outer", [None, "", "of-outer"])
@pytest.mark.parametrize("service", [None, "", "of-service"])
async def test_nearest_queue_group_that_is_said_wins(
    service: str | None, outer: str | None, inner: str | None, endpoint: str | None
) -> None:
    owner = Recorder(queue_group=service)
    group = owner.add_group("outer", outer).add_group("inner", inner)
    await group.add_endpoint("e", handler, queue_group=endpoint)
    said = [level for level in (endpoint, inner, outer, service) if level is not None]
    assert owner.only.options.queue_group == (said[0] if said else "q")


LIMITS = ["pending_bytes_limit", "pending_msgs_limit"]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize(
    ("service", "group", "endpoint", "expected"),
    [
        (5, None, None, 5),
        (5, 6, None, 6),
        (5, 6, 7, 7),
        (5, 0, None, 0),
        (5, 6, 0, 0),
    ],
)
async def test_pending_limits_are_inherited(
    limit: str, service: Any, group: Any, endpoint: Any, expected: int | None
) -> None:
    owner = Recorder(**{limit: service})
    inner = owner.add_group("g", **{f"{limit}_by_endpoint": group}).add_group("h")
    await inner.add_endpoint("e", handler, **{limit: endpoint})
    assert getattr(owner.only.options, limit) == expected


@pytest.mark.parametrize(
    ("service", "group", "endpoint", "expected"),
    [(None, None, None, 512), (5, None, None, 5), (5, 6, None, 6), (5, 6, 7, 7)],
)
async def test_max_in_flight_is_inherited(
    service: int | None, group: int | None, endpoint: int | None, expected: int | None
) -> None:
    owner = Recorder(max_in_flight=service)
    inner = owner.add_group("g", max_in_flight=group).add_group("h")
    await inner.add_endpoint("e", handler, max_in_flight=endpoint)
    assert owner.only.options.max_in_flight == expected


async def test_reply_prefixes_of_the_innermost_level_hold() -> None:
    owner = Recorder(reply_prefixes=("_INBOX.",))
    group = owner.add_group("g", reply_prefixes=["answers.", "_R_."])
    await group.add_endpoint("e", handler)
    assert owner.only.options.reply_prefixes == ("answers.", "_R_.")


async def test_defaults_of_the_limits() -> None:
    owner = Recorder()
    await owner.add_endpoint("e", handler)
    options = owner.only.options
    assert (options.max_in_flight, options.pending_msgs) == (512, 4096)
    assert options.pending_bytes_limit == 32 * 1024 * 1024


@pytest.mark.parametrize(("running", "waiting"), [(1, 64), (8, 64), (9, 72), (1000, 8000)])
async def test_eight_requests_wait_for_each_that_runs(running: int, waiting: int) -> None:
    owner = Recorder(max_in_flight=running)
    await owner.add_endpoint("e", handler)
    assert owner.only.options.pending_msgs == waiting


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_in_flight": 0}, "invalid max_in_flight 0: expected at least 1"),
        (
            {"pending_msgs_limit": -1},
            "invalid pending limits -1 messages, 33554432 bytes: expected at least 0",
        ),
        (
            {"pending_bytes_limit": -1},
            "invalid pending limits 4096 messages, -1 bytes: expected at least 0",
        ),
    ],
)
async def test_unusable_limits_are_refused(
    nc: NatsClient, limits: dict[str, Any], message: str
) -> None:
    async with micro.add_service(nc, "limits", "1.0.0") as service:
        with pytest.raises(ConfigError) as caught:
            await service.add_endpoint("e", handler, **limits)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("groups", "subject", "expected"),
    [
        ([], None, "e"),
        ([], "other", "other"),
        (["a"], None, "a.e"),
        (["a", "b.c"], "x.y", "a.b.c.x.y"),
        ([""], None, "e"),
        (["a", "", "b"], None, "a.b.e"),
    ],
)
async def test_subject_is_that_of_the_groups_and_the_endpoint(
    groups: list[str], subject: str | None, expected: str
) -> None:
    owner: EndpointOwner = (recorder := Recorder())
    for name in groups:
        owner = owner.add_group(name)
    await owner.add_endpoint("e", handler, subject=subject)
    assert recorder.only.subject == expected
    assert recorder.only.name == "e"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b",), "invalid endpoint name 'a b'"),
        (("a", handler, "x y"), "invalid subject 'x y'"),
        (("a", handler, "$SRV.PING"), "'$' subjects are the server's"),
        (("a", handler, "x.>"), "wildcards need allow_wildcards=True"),
        (("a", handler, None, "q q"), "invalid queue group 'q q'"),
        (("a", handler, None, None, {"a": 1}), "invalid metadata entry 'a'"),
    ],
)
async def test_unusable_endpoints_are_refused(arguments: Any, message: str) -> None:
    owner = Recorder()
    name, function, *rest = arguments if len(arguments) > 1 else (*arguments, handler)
    with pytest.raises(ConfigError) as caught:
        await owner.add_endpoint(name, function, *rest)
    assert message in str(caught.value)
    assert owner.added == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b",), "invalid group name 'a b'"),
        (("a.>",), "invalid group name 'a.>'"),
        (("a", "q q"), "invalid queue group 'q q'"),
    ],
)
def test_unusable_groups_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recorder().add_group(*arguments)
    assert message in str(caught.value)


async def test_arguments_are_not_changed() -> None:
    owner = Recorder()
    metadata = {"a": "1"}
    await owner.add_endpoint("e", handler, metadata=metadata)
    metadata["a"] = "2"
    assert owner.only.metadata == {"a": "1"}


async def test_wildcards_when_allowed(nc: NatsClient, caller: NatsClient) -> None:
    async def tell(request: Request) -> None:
        await request.respond(request.subject().encode())

    async with micro.add_service(nc, "wild", "1.0.0") as service:
        await service.add_endpoint("w", tell, subject="wild.*.end", allow_wildcards=True)
        answer = await micro.Client(caller).request("wild.middle.end")
    assert answer.data == b"wild.middle.end"


async def test_without_queue_group_every_instance_answers(
    nc: NatsClient, caller: NatsClient
) -> None:
    client = micro.Client(caller)
    async with (
        micro.add_service(nc, "all", "1.0.0", queue_group="") as one,
        micro.add_service(nc, "all", "1.0.0", queue_group="") as two,
    ):
        for service in (one, two):
            endpoint = await service.add_endpoint("e", handler, subject="all.e")
            await service.add_endpoint("named", handler, subject="all.named", queue_group="x")
            assert endpoint.queue_group == ""
        for subject, count in (("all.e", 2), ("all.named", 1)):
            until = micro.Until(max_wait=60, max_interval=0.5, max_count=2)
            async with client.request_many(subject, until=until) as replies:
                assert len([message async for message in replies]) == count
        assert [e.queue_group for e in one.info().endpoints] == ["", "x"]
        assert [e.queue_group for e in one.stats().endpoints] == ["", "x"]
