"""Callbacks of a service for its errors and its end."""

from __future__ import annotations

import asyncio

import pytest

from micro._service.notices import Notices


async def test_notices_run_at_once_and_async_ones_by_themselves() -> None:
    notices = Notices("service s")
    seen: list[object] = []
    release = asyncio.Event()

    async def later(value: int) -> None:
        await release.wait()
        seen.append(value)

    notices.call(None, 1)
    notices.call(seen.append, 2)
    notices.call(later, 3)
    assert seen == [2]
    release.set()
    await notices.settle()
    assert seen == [2, 3]


async def test_settling_is_bounded() -> None:
    notices = Notices("service s")
    release = asyncio.Event()
    notices.call(release.wait)
    await notices.settle(timeout=0)
    release.set()
    await notices.settle()


async def test_raising_notices_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices("service s")

    def bad() -> None:
        raise RuntimeError("at once")

    async def bad_later() -> None:
        raise RuntimeError("later")

    notices.call(bad)
    notices.call(bad_later)
    await notices.settle()
    assert [record.message for record in caplog.records] == ["service s: callback failed"] * 2
    assert "at once" in caplog.text
    assert "later" in caplog.text
