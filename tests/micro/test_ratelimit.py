"""Log lines that repeat."""

from __future__ import annotations

import logging

import pytest

from micro._ratelimit import MAX_KINDS, LimitedLog

logger = logging.getLogger("micro.test")


def test_line_of_one_kind_goes_out_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    log = LimitedLog(logger, interval=3600)
    for number in range(5):
        log.log(logging.ERROR, "one", "failed %d", number)
        log.log(logging.ERROR, "two", "other %d", number)
    assert [record.getMessage() for record in caplog.records] == ["failed 0", "other 0"]


def test_next_line_tells_how_many_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    log = LimitedLog(logger, interval=0.05)
    calls = 0
    while len(caplog.records) < 2:
        log.log(logging.ERROR, "one", "failed %d", calls)
        calls += 1
    last = calls - 1
    expected = f"failed {last} (and {last - 1} more like it)"
    assert [record.getMessage() for record in caplog.records] == ["failed 0", expected]


def test_traceback_goes_with_the_line(caplog: pytest.LogCaptureFixture) -> None:
    LimitedLog(logger).log(logging.ERROR, "one", "failed", error=KeyError("of the handler"))
    assert "KeyError: 'of the handler'" in caplog.text


def test_kinds_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    log = LimitedLog(logger, interval=3600)
    for number in range(MAX_KINDS + 1):
        log.log(logging.ERROR, str(number), "line")
    caplog.clear()
    log.log(logging.ERROR, "1", "still limited")
    log.log(logging.ERROR, "0", "forgotten, so it goes out")
    assert [record.getMessage() for record in caplog.records] == ["forgotten, so it goes out"]
