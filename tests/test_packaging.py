"""What an installation brings along."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = {"natsmicro", "nats-py", "pydantic"}
OF_PYDANTIC = {"annotated-types", "pydantic-core", "typing-extensions", "typing-inspection"}


@pytest.mark.slow
def test_core_pulls_only_nats_py_and_pydantic(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    report = subprocess.run(
        [
            str(tmp_path / "venv/bin/python"),
            *("-m", "pip", "install", "--disable-pip-version-check", "--quiet"),
            *("--dry-run", "--ignore-installed", "--report", "-", str(ROOT)),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    installed = {
        re.sub(r"[-_.]+", "-", entry["metadata"]["name"]).lower()
        for entry in json.loads(report)["install"]
    }
    assert installed >= CORE
    assert installed <= CORE | OF_PYDANTIC


def test_importing_micro_loads_neither_pydantic_nor_an_extra() -> None:
    code = (
        "import sys, micro; "
        "heavy = {'pydantic', 'httpx', 'grpc', 'typer', 'rich', 'nkeys'}; "
        "print(sorted(heavy & sys.modules.keys()))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert loaded.strip() == "[]"
