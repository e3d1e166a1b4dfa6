"""Coroutines that are stepped by hand: most never suspend, and a task would cost more."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any

Steps = Coroutine[Any, Any, object]


@types.coroutine
def go_on(
    steps: Steps, waits_for: Any, cancelled: BaseException | None = None
) -> Generator[Any, None, object]:
    """Continue a coroutine whose last step has yielded a future, as its task would.

    Args:
        steps: The coroutine.
        waits_for: The yielded future.
        cancelled: Raised in the coroutine first, if its task was cancelled meanwhile.
    """
    thrown = cancelled
    if thrown is not None and waits_for is not None and waits_for.cancel():
        thrown = None  # cancelling a task cancels the future that it waits for, which then raises
    while True:
        if thrown is None:
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - raised again in the request
                thrown = error
        # Outside of the handler above, so that sys.exc_info() does not show the exception.
        step = partial(steps.send, None) if thrown is None else partial(steps.throw, thrown)
        thrown = None
        try:
            waits_for = step()
        except StopIteration as ended:
            return ended.value
