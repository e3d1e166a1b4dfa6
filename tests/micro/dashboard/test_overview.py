"""The overview of the answers of instances, without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.micro.dashboard.overviews import overview

from micro._client.rates import MAX_COUNT
from micro._protocol.models import EndpointInfo, EndpointStats, ServiceInfo, ServiceStats
from micro.dashboard._missing import KEPT_SECONDS, Roll
from micro.dashboard._overview import Look

STARTED = datetime(2026, 1, 2, tzinfo=UTC)


def endpoint(requests: int, errors: int = 0, **more: Any) -> EndpointStats:
    return EndpointStats(
        name="add", subject="math.add", num_requests=requests, num_errors=errors, **more
    )


def stats(id: str, *endpoints: EndpointStats, version: str = "1.0.0") -> ServiceStats:
    return ServiceStats(
        name="math", id=id, version=version, started=STARTED, endpoints=list(endpoints)
    )


def look(at: float, *answers: ServiceStats | ServiceInfo) -> Look:
    return Look(
        at,
        {(one.name, one.id): one for one in answers if isinstance(one, ServiceInfo)},
        {(one.name, one.id): one for one in answers if isinstance(one, ServiceStats)},
        {},
    )


def test_instances_are_added_up() -> None:
    first = look(1.0, stats("a", endpoint(10)), stats("b", endpoint(100)))
    second = look(3.0, stats("a", endpoint(30, 4)), stats("b", endpoint(100)))

    (service,) = overview(second, first)

    assert service["endpoints"][0]["num_requests"] == 130
    assert service["endpoints"][0]["requests_per_second"] == 10.0
    assert service["endpoints"][0]["errors_per_second"] == 2.0
    assert [one["requests_per_second"] for one in service["instances"]] == [10.0, 0.0]


def test_there_is_no_rate_at_first_sight() -> None:
    (service,) = overview(look(3.0, stats("a", endpoint(30))), look(1.0))

    assert service["instances"][0]["requests_per_second"] is None
    assert service["endpoints"][0]["requests_per_second"] is None


def test_counters_that_were_reset_start_from_nothing() -> None:
    first, second = look(1.0, stats("a", endpoint(100, 9))), look(3.0, stats("a", endpoint(8, 2)))

    (service,) = overview(second, first)

    assert service["endpoints"][0]["requests_per_second"] == 4.0
    assert service["endpoints"][0]["errors_per_second"] == 1.0


def test_own_details_are_added_and_the_slowest_instance_counts() -> None:
    fast = {"in_flight": 1, "queued": 2, "errors": {"400": 3}, "p99_ns": 1_000}
    slow = {"in_flight": 4, "errors": {"400": 1, "500": 2}, "p99_ns": 9_000, "rejected": 5}
    parts = [stats(id, endpoint(1, data={"micro": own})) for id, own in (("a", fast), ("b", slow))]

    (service,) = overview(look(1.0, *parts), None)

    assert service["endpoints"][0]["own"] == {
        "in_flight": 5,
        "queued": 2,
        "rejected": 5,
        "expired": 0,
        "p50_ns": None,
        "p95_ns": None,
        "p99_ns": 9_000,
        "errors": {"400": 4, "500": 2},
    }


@pytest.mark.parametrize("data", [None, [], "text", {"micro": 7}, {"load": 0.5}])
def test_other_services_have_no_details(data: Any) -> None:
    (service,) = overview(look(1.0, stats("a", endpoint(1, data=data))), None)

    assert service["endpoints"][0]["own"] is None


def test_what_nobody_can_have_counted_does_no_harm() -> None:
    huge = 10**400
    absurd = {"in_flight": huge, "errors": {"1": huge, "2": "x"}, "p50_ns": -1, "queued": []}
    first = look(1.0, stats("a", endpoint(0)))
    second = look(
        2.0, stats("a", endpoint(huge, huge, processing_time=huge, data={"micro": absurd}))
    )

    (service,) = overview(second, first)

    (totals,) = service["endpoints"]
    assert totals["num_requests"] == MAX_COUNT
    assert totals["own"]["in_flight"] == MAX_COUNT
    assert totals["own"]["errors"] == {"1": MAX_COUNT}
    assert totals["own"]["p50_ns"] == 0
    assert len(json.dumps(service)) < 2_000


def test_the_newest_version_describes_the_service() -> None:
    infos = [
        ServiceInfo(
            name="math",
            id=id,
            version=version,
            description=f"As of {version}",
            endpoints=[EndpointInfo(name="add", subject="math.add", metadata={"from": version})],
        )
        for id, version in (("a", "1.10.0"), ("b", "1.9.0"), ("c", "1.10.0-rc.1"), ("d", "odd.1.x"))
    ]

    (service,) = overview(look(1.0, *infos), None)

    assert service["versions"] == ["odd.1.x", "1.9.0", "1.10.0-rc.1", "1.10.0"]
    assert service["description"] == "As of 1.10.0"
    assert service["endpoints"][0]["metadata"] == {"from": "1.10.0"}
    assert service["endpoints"][0]["num_requests"] == 0
    assert service["instances"][0]["started"] is None


def missing(roll: Roll, now: float, *ids: str) -> list[str]:
    return [one["id"] for one in roll.call(look(now, *map(stats, ids)), now)]


def test_an_instance_without_two_answers_in_a_row_is_missing() -> None:
    roll = Roll()

    assert missing(roll, 0, "a", "b") == []
    assert missing(roll, 2, "a") == []
    assert missing(roll, 4, "a", "b") == []  # one answer was late
    assert missing(roll, 6, "a") == []
    assert missing(roll, 8, "a") == ["b"]
    assert missing(roll, 10, "a", "b") == []


def test_a_restarted_instance_is_not_missing() -> None:
    roll = Roll()

    assert missing(roll, 0, "a", "b") == []
    assert missing(roll, 2, "a", "c") == []
    assert missing(roll, 4, "a", "c") == []


def test_a_missing_instance_is_forgotten_in_the_end() -> None:
    roll = Roll()

    assert missing(roll, 0, "a") == []
    assert missing(roll, 2) == []
    assert missing(roll, KEPT_SECONDS) == ["a"]
    assert missing(roll, KEPT_SECONDS + 1) == []
