"""Each example prints what its docstring says, on a real Apicurio."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from micro.testing import nats_server

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["registry_evolution", "registry_fastapi", "registry_nats"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_what_it_says(name: str, apicurio_url: str, group_id: str) -> None:
    path = EXAMPLES / f"{name}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    expected = [line[4:] for line in docstring.splitlines() if line.startswith("    ")]
    with nats_server() as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(path)],
            env=os.environ
            | {"REGISTRY_URL": apicurio_url, "REGISTRY_GROUP": group_id, "NATS_URL": server.url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == expected
