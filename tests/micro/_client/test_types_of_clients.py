"""A change of a signature is an error of type checkers at the callers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("declarations.py")
WRONG = {
    number
    for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
    if line.endswith("# error")
}


def test_mypy_refuses_wrong_calls(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--output=json", "--config-file="]
    command += ["--cache-dir", str(tmp_path), str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {each["line"] for each in found if each["severity"] == "error"} == WRONG, done.stdout


def test_pyright_refuses_wrong_calls(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps({"include": [str(PROGRAM)], "typeCheckingMode": "standard"}))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(config)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    wrong = {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}
    assert wrong == WRONG, done.stdout
