"""Callbacks for events of the connection."""

from __future__ import annotations

import asyncio

import pytest

from micro._connection.callbacks import Callbacks


async def test_callbacks_run_in_order_and_one_after_the_other() -> None:
    callbacks = Callbacks()
    seen: list[str] = []

    async def first(value: int) -> None:
        seen.append(f"first {value} began")
        await asyncio.sleep(0)
        seen.append(f"first {value} ended")

    async def second(value: int) -> None:
        seen.append(f"second {value}")

    callbacks.add("event", first)
    callbacks.add("event", second)
    callbacks.call("event", 1)
    callbacks.call("event", 2)
    callbacks.call("unknown", 3)
    assert seen == []  # calling only queues
    await callbacks.close()
    assert seen == [
        "first 1 began",
        "first 1 ended",
        "second 1",
        "first 2 began",
        "first 2 ended",
        "second 2",
    ]


async def test_raising_callback_is_logged_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callbacks = Callbacks()
    seen: list[str] = []

    async def bad() -> None:
        raise RuntimeError("of the callback")

    async def good() -> None:
        seen.append("good")

    callbacks.add("closed", bad)
    callbacks.add("closed", good)
    callbacks.call("closed")
    callbacks.call("closed")
    await callbacks.close()
    assert seen == ["good", "good"]
    assert [record.message for record in caplog.records] == ["closed callback failed"] * 2
    assert "of the callback" in caplog.text


async def test_close_gives_up_on_a_stuck_callback(caplog: pytest.LogCaptureFixture) -> None:
    callbacks = Callbacks()
    entered = asyncio.Event()

    async def stuck() -> None:
        entered.set()
        await asyncio.Event().wait()

    callbacks.add("closed", stuck)
    callbacks.call("closed")
    await entered.wait()
    await callbacks.close(timeout=0)
    assert "callbacks of the connection took too long" in caplog.text


async def test_close_without_any_call_does_nothing() -> None:
    callbacks = Callbacks()
    await callbacks.close()
    await callbacks.close()
