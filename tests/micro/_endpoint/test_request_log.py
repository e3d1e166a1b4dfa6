"""What goes wrong with requests is logged once, and with fields for programs."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime, timedelta
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request, ServiceError
from micro._protocol import deadline
from micro.cli._run.program import Program

LONG = 60.0
FIELDS = ("service", "endpoint", "instance", "subject", "code")


async def handle(request: Request) -> None:
    kind = request.data()
    if kind == b"raise":
        raise KeyError("secret")
    if kind == b"silent":
        return
    if kind == b"refuse":
        raise ServiceError(404, "no such thing")
    if kind == b"header":
        await request.respond(b"", {"a b": "1"})
        return
    await asyncio.sleep(LONG)


@pytest.mark.parametrize(
    ("kind", "headers", "level", "code", "text"),
    [
        (b"raise", {}, "ERROR", 500, "handler of 'shop.pay' failed"),
        (b"silent", {}, "ERROR", 500, "handler of 'shop.pay' did not respond"),
        (b"header", {}, "ERROR", 500, "answer to 'shop.pay' cannot be sent: "),
        (
            b"slow",
            {deadline.HEADER: "50"},
            "WARNING",
            504,
            "request to 'shop.pay' is past its deadline",
        ),
        (
            b"slow",
            {deadline.HEADER: "0"},
            "WARNING",
            504,
            "request to 'shop.pay' is past its deadline",
        ),
    ],
)
async def test_a_failed_request_is_logged_with_its_fields(
    nc: NatsClient,
    caller: NatsClient,
    caplog: pytest.LogCaptureFixture,
    kind: bytes,
    headers: dict[str, str],
    level: str,
    code: int,
    text: str,
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0", id_generator=lambda: "shop-1") as service:
        await service.add_group("shop").add_endpoint("pay", handle)
        for _ in range(3):
            await caller.request("shop.pay", kind, timeout=LONG, headers=headers)

    (record,) = (one for one in caplog.records if one.name == "micro.requests")
    assert record.levelname == level
    assert record.getMessage().startswith(f"shop/pay: {text}")
    assert [vars(record)[name] for name in FIELDS] == ["shop", "pay", "shop-1", "shop.pay", code]
    was_run = code == 504 or kind in (b"raise", b"silent")
    assert ("elapsed_ns" in vars(record)) == was_run
    assert (record.exc_info is not None) == (kind == b"raise")


async def test_a_refused_request_is_logged(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with micro.add_service(nc, "busy", "1.0.0") as service:
        await service.add_endpoint(
            "nap", handle, "busy.nap", max_in_flight=1, pending_msgs_limit=0, timeout=0.2
        )
        asked = [caller.request("busy.nap", b"slow", timeout=LONG) for _ in range(20)]
        await asyncio.gather(*asked)

    lines = [one for one in caplog.records if one.name == "micro.requests"]
    refused = "busy/nap: request to 'busy.nap' refused: overloaded"
    assert [one.getMessage() for one in lines if vars(one)["code"] == 503] == [refused]


async def test_an_error_that_the_handler_means_is_not_logged(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as service:
        await service.add_endpoint("quiet", handle)
        await caller.request("quiet", b"refuse", timeout=LONG)

    assert [one for one in caplog.records if one.name == "micro.requests"] == []


async def test_a_reply_subject_that_is_not_allowed_is_logged(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0", reply_prefixes=["_INBOX.good."]) as service:
        await service.add_endpoint("strict", handle)
        with pytest.raises(nats.errors.TimeoutError):
            await caller.request("strict", b"raise", timeout=0.2)

    (record,) = (one for one in caplog.records if one.name == "micro.requests")
    assert "ignored, its reply subject is '_INBOX." in record.getMessage()
    assert vars(record)["code"] == 403


def test_fields_are_in_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        _program().configure_logging()
        extra: dict[str, Any] = {"service": "shop", "code": 504, "odd": {1}}
        logging.getLogger("micro.requests").warning("late: %s", "shop.pay", extra=extra)
    finally:
        root.handlers[:] = before
        root.setLevel(level)

    line = json.loads(capsys.readouterr().err)
    written = datetime.fromisoformat(line.pop("time"))
    assert written.utcoffset() == timedelta(0)
    assert line.pop("process")
    assert line == {
        "service": "shop",
        "code": 504,
        "odd": "{1}",
        "level": "warning",
        "logger": "micro.requests",
        "message": "late: shop.pay",
    }


def _program() -> Program:
    from micro.cli._flags import Serving

    return Program("app:setup", Serving(log_json=True))
