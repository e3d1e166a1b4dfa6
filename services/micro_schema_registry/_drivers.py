"""Drivers that run the same registry calls with a blocking or an async client."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from micro_schema_registry._model.protocol import SchemaRegistry

T = TypeVar("T")

Steps = Generator[Callable[[SchemaRegistry], Awaitable[Any]], Any, T]
"""A computation that yields its calls of a registry and is sent what they return."""


def run(client: Any, steps: Steps[T]) -> T:
    """Run steps with a blocking client."""
    try:
        call = next(steps)
        while True:
            try:
                answer = call(client)
            except Exception as error:  # noqa: BLE001 - handed to the steps, which may handle it
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as end:
        value: T = end.value
        return value


async def run_async(client: SchemaRegistry, steps: Steps[T]) -> T:
    """Run steps with an async client."""
    try:
        call = next(steps)
        while True:
            try:
                answer = await call(client)
            except Exception as error:  # noqa: BLE001 - handed to the steps, which may handle it
                call = steps.throw(error)
            else:
                call = steps.send(answer)
    except StopIteration as end:
        value: T = end.value
        return value
