"""The decisions of the engine under a clock of the test's own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from micro_http import (
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    DeadlineExceededError,
    RequestContext,
    RetryBudget,
    RetryPolicy,
    Try,
)
from micro_http._engine.engine import Engine, Execution, Target, origin_of, retry_after

TARGET = Target("GET", "https://a.test")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def one_try(execution: Execution, outcome: int | Exception, **headers: str) -> float | None:
    execution.begin()
    if isinstance(outcome, Exception):
        return execution.failed(outcome)
    return execution.answered(
        httpx.Response(outcome, headers={k.replace("_", "-"): v for k, v in headers.items()})
    )


def test_the_presets() -> None:
    assert RetryPolicy.for_connection_errors() == RetryPolicy()
    registry = RetryPolicy.for_registry()
    assert (registry.max_retries, registry.base_delay, registry.max_delay) == (3, 1.0, 20.0)
    assert registry.jitter == "full"
    assert registry.statuses == {429, 502, 503, 504}
    tuned = RetryPolicy.for_registry(max_retries=5, retry_backoff_ms=20, retry_max_backoff_ms=400)
    assert (tuned.max_retries, tuned.base_delay, tuned.max_delay) == (5, 0.02, 0.4)


def test_everything_beyond_the_seed_is_off_by_default() -> None:
    policy = RetryPolicy()
    assert policy.statuses == frozenset()
    assert not policy.idempotent_only
    for name in (
        "retry_after_cap",
        "deadline",
        "try_timeout",
        "max_concurrency",
        "hedge_after",
        "budget",
        "breaker",
    ):
        assert getattr(policy, name) is None


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (RetryPolicy, {"max_retries": -1}, "invalid max_retries -1: expected a number >= 0"),
        (RetryPolicy, {"deadline": 0}, "invalid deadline 0: expected a number > 0"),
        (RetryPolicy, {"try_timeout": -1}, "invalid try_timeout -1: expected a number > 0"),
        (RetryPolicy, {"max_concurrency": 0}, "invalid max_concurrency 0: expected a number > 0"),
        (
            RetryPolicy,
            {"statuses": {99, 700}},
            "invalid statuses [99, 700]: expected numbers from 100 to 599",
        ),
        (
            RetryPolicy,
            {"jitter": "x"},
            "invalid jitter 'x': expected one of none, additive, full, equal, decorrelated",
        ),
        (
            RetryPolicy,
            {"retry_on": (KeyboardInterrupt,)},
            "invalid retry_on (<class 'KeyboardInterrupt'>,): expected subclasses of Exception",
        ),
        (RetryBudget, {"ratio": -1}, "invalid ratio -1: expected a number >= 0"),
        (RetryBudget, {"burst": -1}, "invalid burst -1: expected a number >= 0"),
        (CircuitBreaker, {"failures": 0}, "invalid failures 0: expected a number > 0"),
        (CircuitBreaker, {"open_for": 0}, "invalid open_for 0: expected a number > 0"),
    ],
)
def test_impossible_values_are_refused(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make(**options)
    assert str(refused.value) == message


def test_registry_delays_are_between_zero_and_the_doubled_capped_backoff() -> None:
    engine = Engine(RetryPolicy.for_registry(max_retries=8))
    for _ in range(50):
        execution = engine.execution(TARGET)
        delays = [one_try(execution, 503) for _ in range(8)]
        assert one_try(execution, 503) is None
        for retry, delay in enumerate(delays):
            assert delay is not None
            assert 0 <= delay <= min(2.0**retry, 20.0)


def test_the_context_of_a_request_rules_over_the_policys_delays() -> None:
    seen: list[RequestContext] = []
    context = RequestContext(max_retries=1, base_delay=7.0, jitter="none", request_id="mine")
    engine = Engine(RetryPolicy(max_retries=9, base_delay=1.0))
    execution = engine.execution(TARGET, context, lambda context, cause: seen.append(context))

    assert one_try(execution, httpx.ConnectError("x")) == 7.0
    assert one_try(execution, httpx.ConnectError("x")) is None
    assert seen == [replace(context, current_attempt=1, last_delay=7.0)]
    assert execution.attempts == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("9" * 400, float("inf")),
    ],
)
def test_retry_after_in_seconds(header: str, seconds: float) -> None:
    assert retry_after(httpx.Headers({"Retry-After": header})) == seconds


@pytest.mark.parametrize("usegmt", [True, False])
def test_retry_after_as_a_date(usegmt: bool) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    text = format_datetime(moment, usegmt=usegmt)
    if not usegmt:
        text = text.replace("+0000", "-0000")  # read as a time without zone

    assert 95 < retry_after(httpx.Headers({"Retry-After": text})) <= 100
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert retry_after(httpx.Headers({"Retry-After": past})) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-1",
        "1.5",
        "0x10",
        "\u0661",
        "Mon, 99 Foo 2026 99:99:99 GMT",
        "Mon, 01 Jan 99999999 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "(" * 50,
        ",",
    ],
)
def test_an_odd_retry_after_asks_for_nothing(text: str) -> None:
    assert retry_after(httpx.Headers([(b"Retry-After", text.encode())])) == 0.0


def test_a_huge_retry_after_is_a_number_to_be_capped() -> None:
    assert retry_after(httpx.Headers({"Retry-After": "9" * 5000})) > 1e300


@pytest.mark.parametrize(("cap", "delay"), [(None, 1.0), (5.0, 5.0), (60.0, 30.0)])
def test_retry_after_is_obeyed_up_to_the_cap(cap: float | None, delay: float) -> None:
    policy = RetryPolicy(statuses=frozenset({429}), jitter="none", retry_after_cap=cap)

    assert one_try(Engine(policy).execution(TARGET), 429, Retry_After="30") == delay


def test_retry_after_never_shortens_the_backoff() -> None:
    policy = RetryPolicy(
        statuses=frozenset({429}), jitter="none", base_delay=4.0, retry_after_cap=60
    )

    assert one_try(Engine(policy).execution(TARGET), 429, Retry_After="1") == 4.0


def test_the_deadline_counts_all_tries_and_delays(clock: Clock) -> None:
    policy = RetryPolicy(deadline=10, base_delay=3, jitter="none", max_retries=9)
    execution = Engine(policy, clock=clock).execution(TARGET)

    assert execution.remaining == 10
    clock.now += 2
    assert one_try(execution, httpx.ConnectError("x")) == 3
    clock.now += 4
    assert execution.remaining == 4
    assert one_try(execution, httpx.ConnectError("x")) is None
    clock.now += 4
    with pytest.raises(DeadlineExceededError):
        execution.begin()


def test_the_budget_is_filled_by_requests_and_shared_by_them() -> None:
    engine = Engine(RetryPolicy(budget=RetryBudget(ratio=0.5, burst=1)))

    def retries() -> int:
        execution = engine.execution(TARGET)
        return sum(one_try(execution, httpx.ConnectError("x")) is not None for _ in range(3))

    assert [retries() for _ in range(5)] == [1, 0, 1, 0, 1]


def test_a_circuit_opens_lets_a_trial_through_and_closes(clock: Clock) -> None:
    policy = RetryPolicy(max_retries=0, breaker=CircuitBreaker(failures=2, open_for=30))
    engine = Engine(policy, clock=clock)
    one_try(engine.execution(TARGET), 500)
    one_try(engine.execution(TARGET), 200)
    one_try(engine.execution(TARGET), 500)
    one_try(engine.execution(TARGET), httpx.ReadError("x"))

    with pytest.raises(CircuitOpenError) as refused:
        engine.execution(TARGET).begin()
    assert refused.value.retry_in == 30
    clock.now += 30
    trial = engine.execution(TARGET)
    trial.begin()
    with pytest.raises(CircuitOpenError, match=r"try again in 0\.000 s"):
        engine.execution(TARGET).begin()
    trial.answered(httpx.Response(404))
    assert one_try(engine.execution(TARGET), 200) is None


def test_a_failed_trial_opens_the_circuit_again_and_an_abandoned_one_does_not_block_it(
    clock: Clock,
) -> None:
    engine = Engine(
        RetryPolicy(max_retries=0, breaker=CircuitBreaker(failures=1, open_for=30)), clock=clock
    )
    one_try(engine.execution(TARGET), 500)
    clock.now += 31
    one_try(engine.execution(TARGET), 503)
    with pytest.raises(CircuitOpenError):
        engine.execution(TARGET).begin()
    clock.now += 31
    one_try(
        engine.execution(TARGET), KeyError("the caller's own mistake says nothing about the origin")
    )

    assert one_try(engine.execution(TARGET), 200) is None


def test_remembered_origins_are_bounded(clock: Clock) -> None:
    engine = Engine(RetryPolicy(max_retries=0, breaker=CircuitBreaker(failures=1)), clock=clock)
    for number in range(1100):
        one_try(engine.execution(Target("GET", f"https://{number}.test")), 500)

    one_try(engine.execution(Target("GET", "https://0.test")), 200)
    with pytest.raises(CircuitOpenError):
        engine.execution(Target("GET", "https://1099.test")).begin()


def test_hedges_take_from_the_budget() -> None:
    engine = Engine(RetryPolicy(budget=RetryBudget(ratio=0, burst=1), hedge_after=0))
    first, second = engine.execution(TARGET), engine.execution(TARGET)

    assert (first.may_hedge(), second.may_hedge()) == (True, False)
    assert (first.attempts, second.attempts) == (1, 0)


def test_a_try_is_reported_with_its_time(clock: Clock) -> None:
    seen: list[Try] = []
    engine = Engine(RetryPolicy(jitter="none"), [seen.append], clock=clock)
    execution = engine.execution(TARGET)
    error = httpx.ConnectError("x")
    execution.begin()
    clock.now += 0.25
    execution.failed(error)

    assert seen == [Try("GET", "https://a.test", 1, 0.25, None, error, 1.0)]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://user:secret@A.test:443/path?q=1", "https://a.test"),
        ("http://a.test:8080", "http://a.test:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_scheme_host_and_unusual_port(url: str, origin: str) -> None:
    assert origin_of(httpx.URL(url)) == origin
