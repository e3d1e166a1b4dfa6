"""The drivers of operations end an operation that was interrupted."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from micro_schema_registry._drivers import run, run_async


def operation(ends: list[str]) -> Generator[str, Any, None]:
    try:
        yield "step"
    finally:
        ends.append("ended")


async def test_a_cancelled_operation_has_ended_when_its_caller_knows() -> None:
    ends: list[str] = []
    steps = operation(ends)  # not ended by its deletion: it is still referred to

    async def perform(step: str) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_async(steps, perform)

    assert ends == ["ended"]


def test_an_interrupted_operation_has_ended_when_its_caller_knows() -> None:
    ends: list[str] = []
    steps = operation(ends)

    def perform(step: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(steps, perform)

    assert ends == ["ended"]
