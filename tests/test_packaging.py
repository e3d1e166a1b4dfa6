"""What an installation brings along."""

from __future__ import annotations

import email
import json
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the two distributions."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    """Return the files of the wheel."""
    [path] = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_the_packages_with_types_and_licences(wheel: dict[str, bytes]) -> None:
    packages = {"micro", "micro_http", "micro_schema_registry", "micro_etcd"}
    [information] = {name.partition("/")[0] for name in wheel if ".dist-info/" in name}

    assert {name.partition("/")[0] for name in wheel} == {*packages, information}
    assert {f"{package}/py.typed" for package in packages} <= wheel.keys()
    assert wheel[f"{information}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"MIT" in wheel["micro/dashboard/page/vendor/preact.js"][:2000]
    own = [name for name in wheel if information not in name and "/_new/template/" not in name]
    kinds = {".py", ".typed", ".pyi", ".proto", ".js", ".css", ".html", ".svg"}
    assert {Path(name).suffix for name in own} <= kinds
    tools = {"micro/testing.py", "micro/pytest_plugin.py", "micro_etcd/testing.py"}
    assert {name for name in own if "test" in name} == tools


def test_the_metadata_has_author_licence_and_readme(wheel: dict[str, bytes]) -> None:
    [path] = [name for name in wheel if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel[path])

    assert metadata["Name"] == "natsmicro"
    assert metadata["Author"] == "The natsmicro authors"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_all("Project-URL") is not None
    assert "# micro" in str(metadata.get_payload())


def test_the_source_distribution_builds_the_same_wheel(
    built: Path, wheel: dict[str, bytes], tmp_path: Path
) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    top = {each.name for each in source.iterdir()}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "again"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    [again] = (source / "again").glob("*.whl")

    assert top <= {
        *("src", "services", "CHANGELOG.md"),
        *("LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"),
    }
    with zipfile.ZipFile(again) as other:
        assert set(other.namelist()) == wheel.keys()


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
