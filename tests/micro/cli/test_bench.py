"""`micro bench` with the program of these tests."""

from __future__ import annotations

import pytest

from micro.cli._bench import Latencies
from micro.cli._output import Exit

from .conftest import Cli

pytestmark = pytest.mark.usefixtures("service")


def test_figures_of_an_endpoint(cli: Cli) -> None:
    done = cli("bench", "echo", "echo", "hello", "-c", "8", "-d", "300ms", "--json")

    assert done.code == Exit.DONE
    figures = done.json
    latency = figures.pop("latency_ms")
    assert figures["subject"] == "echo"
    assert figures["answers"] > 8
    assert figures["rate"] == pytest.approx(figures["answers"] / figures["seconds"], rel=0.01)
    assert figures["errors"] == {}
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]


def test_errors_are_counted_and_do_not_end_it(cli: Cli) -> None:
    done = cli("bench", "echo", "add", "{}", "-c", "2", "-d", "200ms", "--json")

    assert done.code == Exit.DONE
    assert done.json["errors"] == {"400 invalid request": done.json["answers"]}


def test_table_has_the_same_figures(cli: Cli) -> None:
    done = cli("bench", "echo", "echo", "-c", "2", "-d", "200ms")

    assert done.code == Exit.DONE
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["echo"]
    assert lines[1][:4] == ["Seconds", "Answers", "Req/s", "Errors"]
    assert len(lines[2]) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nobody", "echo"], Exit.NO_ANSWER, "no instance of service 'nobody' answered"),
        (["echo", "sum"], Exit.NO_ANSWER, "service 'echo' has no endpoint 'sum'"),
        (["echo", "echo", "-c", "0"], Exit.USAGE, "Invalid value"),
        (["echo", "echo", "-d", "0s"], Exit.USAGE, "expected a duration such as"),
    ],
)
def test_mistake_ends_with_its_code(
    cli: Cli, arguments: list[str], code: Exit, message: str
) -> None:
    done = cli("bench", *arguments)

    assert done.code == code
    assert message in done.err


def test_quantiles_are_within_two_percent_and_never_beyond_the_longest() -> None:
    latencies = Latencies()
    assert latencies.quantile(0.5) == 0.0
    for i in range(1, 1001):
        latencies.add(i / 1000)

    assert latencies.quantile(0.5) == pytest.approx(0.5, rel=0.03)
    assert latencies.quantile(0.99) == pytest.approx(0.99, rel=0.03)
    assert latencies.quantile(1) == latencies.longest == 1.0
