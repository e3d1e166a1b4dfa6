"""Drivers of generators that yield steps and are sent their outcomes: one blocking, one async."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


def run(steps: Generator[S, Any, T], perform: Callable[[S], Any]) -> T:
    """Perform each step and return what the generator returns; it may handle errors of a step."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = perform(step)
            except Exception as error:  # noqa: BLE001 - the generator raises or handles it
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()  # when it was interrupted


async def run_async(steps: Generator[S, Any, T], perform: Callable[[S], Awaitable[Any]]) -> T:
    """Do the same as `run`, and await each step."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = await perform(step)
            except Exception as error:  # noqa: BLE001 - the generator raises or handles it
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()  # when it was interrupted
