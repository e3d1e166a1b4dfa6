"""The grace time of a program, and the warning of a program without signals."""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import micro
from micro import ConfigError, Context, options
from micro._program.stopping import grace_time
from micro.testing import NatsServer


def test_the_grace_time_is_given_or_of_the_environment_or_25_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MICRO_GRACE", raising=False)
    assert grace_time(None) == 25
    monkeypatch.setenv("MICRO_GRACE", "10.5")
    assert grace_time(None) == 10.5
    assert grace_time(0) == 0


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, "soon", [1]])
def test_an_impossible_grace_time_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="invalid grace time"):
        Context(grace=value)


def test_an_impossible_grace_time_of_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MICRO_GRACE", "1 hour")
    with pytest.raises(ConfigError, match="invalid grace time '1 hour'"):
        Context()


@pytest.mark.parametrize("trap_signals", [True, False])
def test_a_program_without_signals_warns_once(
    trap_signals: bool, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def setup(ctx: Context) -> None:
        ctx.cancel()

    with caplog.at_level(logging.WARNING, "micro.run"):
        micro.run(setup, options.servers(server.url), trap_signals=trap_signals)

    assert caplog.text.count("SIGTERM will lose requests in flight") == (not trap_signals)


@pytest.mark.parametrize("busy", [False, True])
def test_only_a_busy_thread_is_named_at_the_end_of_a_stop(
    busy: bool, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    async def setup(ctx: Context) -> None:
        executor.submit(int).result()
        if busy:
            executor.submit(work)
            begun.wait()
        ctx.cancel()

    with ThreadPoolExecutor(1, "helper") as executor:
        micro.run(setup, options.servers(server.url))
        go_on.set()

    assert caplog.text.count("the stop leaves thread 'helper_0'") == busy
