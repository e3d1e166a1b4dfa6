"""Our client with the answers of other implementations, and with invalid ones."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

import micro

IDENTITY = {"name": "other", "id": "a-1", "version": "1.0.0"}
STATS: dict[str, Any] = {
    **IDENTITY,
    "type": "io.nats.micro.v1.stats_response",
    "metadata": {},
    "started": "2026-01-02T03:04:05.678901Z",
    "endpoints": [
        {
            "name": "e",
            "subject": "s.e",
            "queue_group": "q",
            "num_requests": 3,
            "num_errors": 1,
            "last_error": "400:bad",
            "processing_time": 20_000_001,
            "average_processing_time": 6_666_667,
        }
    ],
}
NULL: Any = None


def stats(endpoint: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """Return the answer above with other fields; `...` omits one."""
    (original,) = STATS["endpoints"]
    body = {**STATS, "endpoints": [without({**original, **(endpoint or {})})], **fields}
    return json.dumps(without(body)).encode()


def without(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not ...}


@asynccontextmanager
async def answering(nc: NatsClient, verb: str, *bodies: bytes) -> AsyncIterator[micro.Client]:
    """Answer a verb with all the bodies, and yield a client."""

    async def receive(msg: Msg) -> None:
        for body in bodies:
            await nc.publish(msg.reply, body)

    for scope in ("", ".other", ".other.a-1"):
        await nc.subscribe(f"$SRV.{verb}{scope}", cb=receive)
    yield micro.Client(nc, default_max_wait=10)


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (stats(metadata=NULL), {}),
        (stats(metadata=...), {}),
        (stats(metadata={"replicas": 3, "beta": True}), {}),
        (stats(extra={"deep": [1]}, endpoint={"started": "2026-01-02T03:04:05Z"}), {}),
        (stats(type=...), {}),
        (stats({"average_processing_time": 6666666.67}), {"average_processing_time": 6666666}),
        (stats({"last_error": NULL, "data": NULL}), {"last_error": ""}),
        (stats({"last_error": ..., "queue_group": NULL}), {"last_error": "", "queue_group": ""}),
        (stats({"queue_group": ...}), {"queue_group": ""}),
        (
            stats(dict.fromkeys(("num_requests", "num_errors", "processing_time"), ...)),
            {"num_requests": 0, "num_errors": 0, "processing_time": 0},
        ),
        (stats({"data": {"any": ["json"]}}), {"data": {"any": ["json"]}}),
    ],
)
async def test_stats_of_other_implementations_are_read(
    body: bytes, changed: dict[str, Any], nc: NatsClient
) -> None:
    async with answering(nc, "STATS", body) as client:
        (answer,) = await client.stats(max_count=1)
        again = await client.instance("other", "a-1").stats(timeout=10)

    assert answer == again
    assert (answer.name, answer.id, answer.version) == ("other", "a-1", "1.0.0")
    (original,) = STATS["endpoints"]
    assert answer.as_dict()["endpoints"] == [{**original, **changed}]


@pytest.mark.parametrize(
    ("started", "microsecond"),
    [
        ("2026-01-02T03:04:05Z", 0),
        ("2026-01-02T03:04:05.6Z", 600_000),
        ("2026-01-02T03:04:05.678Z", 678_000),
        ("2026-01-02T03:04:05.678901234Z", 678_901),
        ("2026-01-02T05:04:05.678901234+02:00", 678_901),
    ],
)
async def test_times_of_start_are_read_at_any_precision(
    started: str, microsecond: int, nc: NatsClient
) -> None:
    async with answering(nc, "STATS", stats(started=started)) as client:
        (answer,) = await client.stats("other", max_count=1)

    assert answer.as_dict()["started"] == f"2026-01-02T03:04:05.{microsecond:06}Z"


async def test_info_without_its_optional_fields_is_read(nc: NatsClient) -> None:
    """nats-py writes null, an endpoint of nats.js nothing."""
    endpoints = [{"name": "e", "subject": "s.e", "metadata": None}, {"name": "f", "subject": "f"}]
    body = json.dumps({**IDENTITY, "description": None, "endpoints": endpoints}).encode()
    async with answering(
        nc, "INFO", body, json.dumps({**IDENTITY, "endpoints": None}).encode()
    ) as client:
        full, bare = await client.info(max_count=2)

    assert full.description == bare.description == ""
    assert [e.metadata for e in full.endpoints] == [{}, {}]
    assert [e.queue_group for e in full.endpoints] == ["", ""]
    assert bare.endpoints == []


async def test_unreadable_answers_are_left_out_with_a_warning(
    nc: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b'{"a":' * 100_000,
        b'{"name": "\\ud800"}',
        stats(name=...),
        stats(id=NULL),
        stats(started=NULL),
        stats(started="yesterday"),
        stats(endpoints={}),
        stats({"subject": ...}),
        stats({"average_processing_time": "soon"}),
        stats({"average_processing_time": float("nan")}),
        stats({"average_processing_time": 1}).replace(b'time": 1}', b'time": 1e999}'),
        stats({"average_processing_time": 1}).replace(b'time": 1}', b'time": -1e999}'),
    ]
    caplog.set_level(logging.WARNING, "micro.client")
    async with answering(nc, "STATS", *broken, stats()) as client:
        answers = await client.stats(max_count=len(broken) + 1)

    assert [answer.id for answer in answers] == ["a-1"]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == len(broken)
    assert all(text.startswith("unreadable ServiceStats: ") for text in warnings)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a":' * 100_000, b"\xff"])
async def test_an_unreadable_answer_of_one_instance_is_a_value_error(
    body: bytes, nc: NatsClient
) -> None:
    async with answering(nc, "PING", body) as client:
        with pytest.raises(ValueError, match="PingInfo"):
            await client.instance("other", "a-1").ping(timeout=10)
