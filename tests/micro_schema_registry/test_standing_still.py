"""A server that stands still costs no client a connection: see the benchmark, which this runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "http_standing_still.py"
KINDS = {
    "resilient",
    "resilient_with_try_timeout",
    "transport",
    "blocking_transport",
    "registry",
    "blocking_registry",
    "service",
}


@pytest.mark.timeout(300)
def test_four_hundred_callers_leave_the_whole_pool_when_the_server_goes_on() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--seconds", "0.6", "--patience", "0.3"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    found = re.findall(r"(?m)^(\w+) +\d+ +(\d+) +(\d+ of \d+)$", done.stdout)
    assert {kind: rest for kind, *rest in found} == {
        kind: ["100", "500 of 500"] for kind in KINDS
    }, done.stderr
