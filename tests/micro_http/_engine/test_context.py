"""RequestContext: frozen, cloned deeply, counting and computing delays."""

import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any, get_args
from uuid import UUID

import httpx
import pytest

from micro_http import ConfigError, Jitter, RequestContext


def test_the_documented_fields_come_first_with_their_defaults() -> None:
    context = RequestContext()
    names = [f.name for f in dataclasses.fields(context)]

    assert names[:5] == ["max_retries", "current_attempt", "base_delay", "request_id", "metadata"]
    assert (context.max_retries, context.current_attempt, context.base_delay) == (2, 0, 1.0)
    assert context.metadata == {}
    assert str(UUID(context.request_id)) == context.request_id
    assert RequestContext().request_id != context.request_id


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        RequestContext().max_retries = 3  # type: ignore[misc]  # wrong on purpose


def test_a_clone_is_equal_and_deep() -> None:
    context = RequestContext(metadata={"tags": ["a"]})
    clone = context.clone()

    assert clone == context
    assert clone is not context
    clone.metadata["tags"].append("b")
    assert context.metadata == {"tags": ["a"]}


def test_a_clone_shares_what_cannot_be_copied() -> None:
    def generate() -> Iterator[int]:
        yield 1

    request = httpx.Request("GET", "http://example.test")
    error = httpx.HTTPStatusError(
        "no", request=request, response=httpx.Response(500, request=request)
    )
    metadata: dict[str, Any] = {
        "lock": threading.Lock(),
        "steps": generate(),
        "error": error,
        "list": [1],
    }
    clone = RequestContext(metadata=metadata).clone()

    for name in ("lock", "steps", "error"):
        assert clone.metadata[name] is metadata[name]
    assert clone.metadata["list"] is not metadata["list"]


def test_metadata_that_contains_itself_and_a_lock_is_cloned() -> None:
    metadata: dict[str, Any] = {"lock": threading.Lock(), "list": [1]}
    metadata["self"] = metadata
    clone = RequestContext(metadata=metadata).clone()

    assert clone.metadata["list"] is not metadata["list"]


@dataclass(frozen=True)
class Tagged(RequestContext):
    tags: list[str] = field(default_factory=list)

    def calculate_delay(self) -> float:
        return 0.25


def test_increment_keeps_every_other_field_and_the_class() -> None:
    context = Tagged(5, 1, 0.5, "id", {"a": 1}, 9.0, "full", 0.3, tags=["t"])
    following = context.increment_attempt()

    assert type(following) is Tagged
    assert following == dataclasses.replace(context, current_attempt=2)
    assert context.current_attempt == 1
    assert context.clone().tags == ["t"]
    assert context.clone().tags is not context.tags


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_retries_are_left_for_attempts_0_to_max_retries(max_retries: int) -> None:
    context = RequestContext(max_retries=max_retries)
    left = []
    for _ in range(max_retries + 3):
        left.append(context.has_retries_left)
        context = context.increment_attempt()

    assert left == [True] * (max_retries + 1) + [False] * 2


def delays(jitter: Jitter, attempt: int, **more: Any) -> list[float]:
    context = RequestContext(current_attempt=attempt, base_delay=0.5, jitter=jitter, **more)
    return [context.calculate_delay() for _ in range(300)]


@pytest.mark.parametrize("attempt", range(6))
@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [("none", 1.0, 1.0), ("additive", 1.0, 1.25), ("full", 0.0, 1.0), ("equal", 0.5, 1.0)],
)
def test_delays_double_within_the_bounds_of_their_jitter(
    jitter: Jitter, low: float, high: float, attempt: int
) -> None:
    doubled = 0.5 * 2**attempt
    seen = delays(jitter, attempt)

    assert low * doubled <= min(seen) <= max(seen) <= high * doubled
    assert (len(set(seen)) == 1) == (jitter == "none")


def test_the_default_delay_grows_with_each_attempt() -> None:
    seen = [RequestContext(current_attempt=n, base_delay=0.1).calculate_delay() for n in range(6)]

    assert seen == sorted(seen)
    assert seen[0] >= 0.1


def test_decorrelated_delays_depend_on_the_last_one() -> None:
    assert set(delays("decorrelated", 0)) == {0.5}
    seen = delays("decorrelated", 3, last_delay=1.0)
    assert 0.5 <= min(seen) < 1.0 < max(seen) <= 3.0


@pytest.mark.parametrize("jitter", get_args(Jitter))
@pytest.mark.parametrize("attempt", [10, 100_000])
def test_delays_are_capped(jitter: Jitter, attempt: int) -> None:
    assert max(delays(jitter, attempt, max_delay=2.0, last_delay=50.0)) <= 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "invalid max_retries -1: expected a number >= 0"),
        ({"current_attempt": -1}, "invalid current_attempt -1: expected a number >= 0"),
        ({"base_delay": -0.5}, "invalid base_delay -0.5: expected a number >= 0"),
        ({"max_delay": -0.5}, "invalid max_delay -0.5: expected a number >= 0"),
        ({"last_delay": -0.5}, "invalid last_delay -0.5: expected a number >= 0"),
        ({"base_delay": float("nan")}, "invalid base_delay nan: expected a number >= 0"),
        (
            {"jitter": "odd"},
            "invalid jitter 'odd': expected one of none, additive, full, equal, decorrelated",
        ),
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RequestContext(**options)
    assert str(refused.value) == message
    assert isinstance(refused.value, ValueError)
