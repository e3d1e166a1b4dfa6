"""What services say of themselves: read liberally, written strictly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import micro

PING = {"type": "io.nats.micro.v1.ping_response", "name": "s", "id": "i", "version": "1.0.0"}
STATS = {**PING, "type": "io.nats.micro.v1.stats_response"}
INFO = {**PING, "type": "io.nats.micro.v1.info_response"}
WHEN = datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)

# One STATS answer in the shape of each language's library.
GO = {
    **STATS,
    "metadata": {},
    "started": "2024-01-02T03:04:05.123456789Z",
    "endpoints": [
        {
            "name": "e",
            "subject": "e",
            "queue_group": "q",
            "num_requests": 3,
            "num_errors": 1,
            "last_error": "404:gone",
            "processing_time": 20,
            "average_processing_time": 6,
        }
    ],
}
JAVASCRIPT = {
    **STATS,
    "metadata": None,
    "started": "2024-01-02T03:04:05.123Z",
    "endpoints": [
        {
            "name": "e",
            "subject": "e",
            "queue_group": "q",
            "num_requests": 3,
            "num_errors": 0,
            "processing_time": 20000000,
            "average_processing_time": 6666666.67,
        }
    ],
}
RUST = {
    **STATS,
    "started": "2024-01-02T03:04:05Z",
    "endpoints": [
        {
            "name": "e",
            "subject": "e",
            "queue_group": "q",
            "num_requests": 3,
            "num_errors": 0,
            "last_error": None,
            "processing_time": 20,
            "average_processing_time": 6,
            "data": None,
        }
    ],
}
DOTNET = {
    **STATS,
    "metadata": None,
    "started": "2024-01-02T03:04:05.1234567+00:00",
    "endpoints": [
        {
            "name": "e",
            "subject": "e",
            "queue_group": None,
            "num_requests": 3,
            "num_errors": 0,
            "last_error": "",
            "processing_time": 20,
            "average_processing_time": 6,
            "data": {"a": [1]},
        }
    ],
}
JAVA = {
    **STATS,
    "started": "2024-01-02T03:04:05.123456789Z",
    "endpoints": [
        {"name": "e", "subject": "e", "started": "2024-01-02T03:04:05Z", "num_requests": 3}
    ],
}


@pytest.mark.parametrize("answer", [GO, JAVASCRIPT, RUST, DOTNET, JAVA])
def test_stats_of_every_language_are_read(answer: dict[str, Any]) -> None:
    stats = micro.ServiceStats.from_response(answer)
    (endpoint,) = stats.endpoints
    assert (stats.name, stats.id, stats.version, stats.metadata) == ("s", "i", "1.0.0", {})
    assert stats.started.replace(microsecond=0) == WHEN.replace(microsecond=0)
    assert endpoint.num_requests == 3
    assert isinstance(endpoint.last_error, str)
    assert isinstance(endpoint.queue_group, str)


def test_nanoseconds_beyond_six_digits_are_cut() -> None:
    assert micro.ServiceStats.from_response(GO).started == WHEN


def test_fractional_average_is_truncated() -> None:
    stats = micro.ServiceStats.from_response(JAVASCRIPT)
    assert stats.endpoints[0].average_processing_time == 6666666


def test_absent_counters_are_zero() -> None:
    (endpoint,) = micro.ServiceStats.from_response(JAVA).endpoints
    assert (endpoint.num_errors, endpoint.processing_time, endpoint.last_error) == (0, 0, "")
    assert (endpoint.queue_group, endpoint.data) == ("", None)


@pytest.mark.parametrize(
    "answer",
    [
        {**INFO, "description": None, "metadata": None, "endpoints": None},
        INFO,
        {**INFO, "unknown": 1, "endpoints": []},
    ],
)
def test_info_with_null_absent_or_unknown_fields_is_read(answer: dict[str, Any]) -> None:
    info = micro.ServiceInfo.from_response(answer)
    assert (info.description, info.metadata, info.endpoints) == ("", {}, [])


def test_endpoint_info_with_nulls_is_read() -> None:
    endpoint = micro.EndpointInfo.from_response(
        {"name": "e", "subject": "a.e", "queue_group": None, "metadata": None}
    )
    assert endpoint.as_dict() == {
        "name": "e",
        "subject": "a.e",
        "queue_group": "",
        "metadata": {},
    }


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (micro.PingInfo, {"name": "s", "id": "i"}),
        (micro.PingInfo, {**PING, "metadata": []}),
        (micro.PingInfo, []),
        (micro.ServiceStats, STATS),
        (micro.ServiceStats, {**STATS, "started": "yesterday"}),
        (micro.ServiceInfo, {**INFO, "endpoints": [{"name": "e"}]}),
    ],
)
def test_unusable_answer_is_refused(model: Any, answer: Any) -> None:
    with pytest.raises(ValidationError):
        model.from_response(answer)


def test_everything_written_has_every_field_and_no_null() -> None:
    info = micro.ServiceInfo(name="s", id="i", version="1.0.0")
    assert info.as_dict() == {**INFO, "metadata": {}, "description": "", "endpoints": []}
    ping = micro.PingInfo(name="s", id="i", version="1.0.0")
    assert ping.as_dict() == {**PING, "metadata": {}}


def test_stats_are_written_with_z_and_without_unset_data() -> None:
    stats = micro.ServiceStats.from_response(RUST)
    written = stats.as_dict()
    assert written["started"] == "2024-01-02T03:04:05.000000Z"
    assert written["endpoints"] == [
        {
            "name": "e",
            "subject": "e",
            "queue_group": "q",
            "num_requests": 3,
            "num_errors": 0,
            "last_error": "",
            "processing_time": 20,
            "average_processing_time": 6,
        }
    ]


def test_set_data_is_written() -> None:
    stats = micro.ServiceStats.from_response(DOTNET)
    assert stats.as_dict()["endpoints"][0]["data"] == {"a": [1]}
    assert stats.endpoints[0].as_dict()["data"] == {"a": [1]}


@pytest.mark.parametrize("answer", [GO, JAVASCRIPT, RUST, DOTNET, JAVA])
def test_stats_survive_being_written_and_read(answer: dict[str, Any]) -> None:
    stats = micro.ServiceStats.from_response(answer)
    assert micro.ServiceStats.from_response(json.loads(json.dumps(stats.as_dict()))) == stats


texts = st.text(max_size=8)
endpoints = st.builds(
    micro.EndpointInfo,
    name=texts,
    subject=texts,
    queue_group=texts,
    metadata=st.dictionaries(texts, texts, max_size=3),
)


@given(
    st.builds(
        micro.ServiceInfo,
        name=texts,
        id=texts,
        version=texts,
        description=texts,
        metadata=st.dictionaries(texts, texts, max_size=3),
        endpoints=st.lists(endpoints, max_size=3),
    )
)
def test_info_survives_being_written_and_read(info: micro.ServiceInfo) -> None:
    assert micro.ServiceInfo.from_response(json.loads(json.dumps(info.as_dict()))) == info


def test_package_has_no_name_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="module 'micro' has no attribute 'nothing'"):
        micro.nothing  # noqa: B018 - read for its error


def test_metadata_that_is_not_text_is_read_as_text() -> None:
    ping = micro.PingInfo.from_response({**PING, "metadata": {"a": 1, "b": "2"}})
    assert ping.metadata == {"a": "1", "b": "2"}
