"""The benchmark of the service runs; memory over NATS is faster than Apicurio over HTTP."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "registry_service.py"


def test_the_service_answers_at_least_twenty_times_as_fast_as_apicurio(apicurio_url: str) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), apicurio_url, "--calls", "5000", "--rounds", "1"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    ratios = dict(re.findall(r"(?m)^(\S.*?)  +[\d,]+/s +([\d.]+)x$", done.stdout))

    assert float(ratios["service over NATS, by id, 64 callers"]) >= 20
    assert float(ratios["service over NATS, newest version, 64 callers"]) >= 20
