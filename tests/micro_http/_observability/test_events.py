"""Events are frozen, dated by the wall clock, and cloned deeply."""

import threading
import time
from dataclasses import FrozenInstanceError

import httpx
import pytest

from micro_http import AsyncEvent, EventType, RequestContext


def test_the_event_types_are_their_names() -> None:
    assert list(EventType) == ["SUCCESS", "RETRY", "ERROR", "TIMEOUT", "CANCELLED"]
    assert f"{EventType.RETRY}" == "RETRY"


def test_an_event_has_the_documented_fields_and_is_frozen() -> None:
    before = time.time()
    context = RequestContext()
    event = AsyncEvent("SUCCESS", context)

    assert before <= event.timestamp <= time.time()
    assert (event.event_type, event.context, event.data, event.error) == (
        "SUCCESS",
        context,
        None,
        None,
    )
    with pytest.raises(FrozenInstanceError):
        event.data = 1  # type: ignore[misc]  # wrong on purpose


def test_a_clone_is_equal_and_deep() -> None:
    event = AsyncEvent(EventType.RETRY, RequestContext(metadata={"a": []}), data={"b": []})
    clone = event.clone()

    assert clone == event
    assert clone.context.metadata["a"] is not event.context.metadata["a"]
    assert clone.data is not event.data


def test_a_clone_shares_responses_errors_and_what_cannot_be_copied() -> None:
    request = httpx.Request("GET", "http://example.test")
    response = httpx.Response(500, request=request)
    error = httpx.HTTPStatusError("no", request=request, response=response)
    clone = AsyncEvent(EventType.ERROR, RequestContext(), data=response, error=error).clone()

    assert clone.data is response
    assert clone.error is error
    lock = threading.Lock()
    assert AsyncEvent(EventType.ERROR, RequestContext(), data=lock).clone().data is lock
