"""Memory stays flat under a burst, because a client keeps results and never responses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)
def test_a_burst_of_20_000_requests_keeps_memory_flat() -> None:
    """In a process of its own, where nothing else allocates."""
    script = Path(__file__).with_name("burst.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=230, check=True
    )
    left = json.loads(done.stdout)

    assert left["events"] == 20_000
    assert left["results"] == 1000
    assert left["responses"] <= 5
    # The bodies of the requests after the first measurement are 145 MB together.
    assert left["grown_bytes"] < 15_000_000
