"""Handlers in the form that endpoints run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from micro._handlers.codec import Codec
from micro._handlers.request import Handler, Request

UNSET: Any = inspect.Parameter.empty
"""Stands for a missing annotation."""

Schema: TypeAlias = Callable[[], dict[str, Any] | None]


def no_schema() -> None:
    """Return None: there is no JSON Schema."""
    return


class Form(NamedTuple):
    """The form of a payload.

    Attributes:
        codec: The codec; None for JSON and for bytes.
        headers: The headers of a message with this payload.
        told: What discovery says of it, by the ends of the keys.
    """

    codec: Codec | None = None
    headers: dict[str, str] | None = None
    told: dict[str, str] = {}  # noqa: RUF012 - of a tuple, never changed


PLAIN = Form()


class BoundHandler(NamedTuple):
    """A handler in the form that endpoints run.

    Attributes:
        call: The handler as `async (request) -> None`.
        request_schema: Returns the JSON Schema of the payload, None when it has none.
        response_schema: Returns the JSON Schema of the answer, None when it has none.
        direct: The handler as `(request) -> None` if it is raw and never waits.
        request: The form of the payload.
        response: The form of the answer.
        streams: Whether it answers with many messages.
        takes: Whether its caller sends items.
        items_schema: Returns the JSON Schema of these items, None when they have none.
        items: The form of these items.
    """

    call: Handler
    request_schema: Schema = no_schema
    response_schema: Schema = no_schema
    direct: Callable[[Request], None] | None = None
    request: Form = PLAIN
    response: Form = PLAIN
    streams: bool = False
    takes: bool = False
    items_schema: Schema = no_schema
    items: Form = PLAIN
