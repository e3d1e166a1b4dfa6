"""Instances and servers that leave in order: no request is lost, on either path."""

from __future__ import annotations

import pytest

from . import losses


@pytest.mark.parametrize("repeat", range(5))
async def test_rolling_restarts_lose_no_request(path: str, repeat: int) -> None:
    outcome = await losses.rolling_restarts(restarts=2, rate=1000)

    print(f"{path}: {outcome} (bar 0, exit 5 s)")
    assert outcome.sent > 500
    assert outcome.failures == []


async def test_rolling_restarts_on_other_nodes_lose_no_request(path: str) -> None:
    outcome = await losses.rolling_restarts(restarts=4, rate=1000, nodes=3)

    print(f"{path}: {outcome} (bar 0)")
    assert outcome.sent > 500
    assert outcome.failures == []


@pytest.mark.parametrize("repeat", range(5))
async def test_departures_in_a_flood_lose_no_request(path: str, repeat: int) -> None:
    outcome = await losses.departures_in_a_flood(2)

    print(f"{path}: {outcome} (bar 0)")
    assert outcome.sent == 5000
    assert outcome.failures == []


async def test_twenty_in_flight_are_finished(path: str) -> None:
    for _ in range(5):
        outcome = await losses.stop_with_twenty_in_flight()

        print(f"{path}: {outcome} (bar 0, 0.2 s)")
        assert outcome.sent == 20
        assert outcome.failures == []


async def test_lame_duck_is_left_at_once_without_a_loss(path: str) -> None:
    outcome = await losses.lame_duck(grace=3)

    print(f"{path}: {outcome} (bar 0, 1 s)")
    assert outcome.failures == []
    assert outcome.seconds[0] < 3  # the grace period: before it threw anybody out
