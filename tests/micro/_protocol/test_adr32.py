"""Facts of the wire format that need no model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from micro._protocol.adr32 import INFO_TYPE, PING_TYPE, STATS_TYPE, format_time


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29T01:02:03.000000Z"),
        (datetime(2024, 2, 29, 1, 2, 3, 45, tzinfo=UTC), "2024-02-29T01:02:03.000045Z"),
        (datetime(2024, 2, 29, 1, 2, 3), "2024-02-29T01:02:03.000000Z"),  # noqa: DTZ001 - the point
        (
            datetime(2024, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            "2023-12-31T23:30:00.000000Z",
        ),
    ],
)
def test_time_is_utc_and_ends_in_z(moment: datetime, text: str) -> None:
    assert format_time(moment) == text


def test_types_are_those_of_adr_32() -> None:
    assert [f"io.nats.micro.v1.{verb}_response" for verb in ("ping", "info", "stats")] == [
        PING_TYPE,
        INFO_TYPE,
        STATS_TYPE,
    ]
