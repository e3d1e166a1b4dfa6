"""The documentation builds, and its samples are files that the tests run."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from micro import __version__, _errors

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for pattern in (
        "index.md",
        "errors.md",
        "design.md",
        "observability.md",
        "permissions.md",
        "scaling.md",
        "security.md",
        "tutorial/*.md",
    )
    for page in DOCS.glob(pattern)
)
BLOCK = re.compile(r"^```(\w*)(?: title=[^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text()) if kind == language]


def test_samples_are_whole_programs_equal_to_their_files() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "samples.py"), "--check"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_programs_of_a_page_are_files_that_the_tests_run(page: Path) -> None:
    programs = re.findall(r"^```python(.*)$", page.read_text(), re.MULTILINE)
    assert all(re.fullmatch(r' title="examples/[\w/]+\.py"', title) for title in programs)


def test_sample_of_the_readme_is_a_tested_example() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.findall("^```python(.*)$", text, re.MULTILINE) == [' title="examples/stock.py"']


def test_error_tree_is_that_of_the_module() -> None:
    (tree,) = (body for body in blocks(DOCS / "errors.md", "text") if "MicroError" in body)
    assert _errors.__doc__ is not None
    assert re.sub(" +", " ", tree.strip()) in re.sub(" +", " ", _errors.__doc__)


def test_every_public_name_is_in_the_reference() -> None:
    import micro

    pages = [*DOCS.glob("reference/*.md"), DOCS / "errors.md"]
    documented = set(
        re.findall(r"^::: [\w.]+?\.(\w+)$", "".join(p.read_text() for p in pages), re.M)
    )
    undocumented = set(micro.__all__) - documented
    assert undocumented == {"ConnectOption", "__version__"}  # made by micro.options; a string


@pytest.mark.parametrize("package", ["micro_http", "micro_schema_registry", "micro_etcd"])
def test_every_public_name_of_a_package_is_in_its_reference(package: str) -> None:
    page = (DOCS / "reference" / f"{package}.md").read_text()
    documented = set(re.findall(rf"^::: {package}\.(\w+)$", page, re.MULTILINE))
    names = set(importlib.import_module(package).__all__)
    assert names - documented <= {"__version__", "errors"}  # a string; the module of the errors
    assert documented - names <= {"serialization"}  # a module of its own


def test_targets_named_in_the_readme_exist() -> None:
    named = set(re.findall(r"(?:^|`)make (\w+)", (ROOT / "README.md").read_text(), re.M))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert named == {"run", "test", "docs"}
    assert named <= targets


def commands() -> list[str]:
    pages = [ROOT / "README.md", *PAGES]
    lines = [line for page in pages for body in blocks(page, "sh") for line in body.splitlines()]
    return sorted({line for line in lines if line.startswith("micro ")})


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood_by_the_command_line(command: str) -> None:
    """The command exists; its ``--help`` is asked for, so that nothing needs to run."""
    _, name, *_ = shlex.split(command)
    process = subprocess.run(
        [sys.executable, "-m", "micro.cli", name, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr


def test_links_between_files_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_footer_of_the_site_has_the_version() -> None:
    assert f"copyright: natsmicro {__version__} #" in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the documentation tools are missing: make docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    for folder in ("src", "services"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    process = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    page = (tmp_path / "site" / "tutorial" / "middleware" / "index.html").read_text()
    assert "hmac.compare_digest" in re.sub(r"<[^>]+>", "", page)
    reference = (tmp_path / "site" / "reference" / "service" / "index.html").read_text()
    assert "pending_msgs_limit_by_endpoint" in reference
    for each in (tmp_path / "site" / "reference").rglob("index.html"):
        shown = re.sub(r'(?:href|id|title)="[^"]*"', "", each.read_text())
        assert re.findall(r"\bmicro\w*\._\w+", shown) == [], each
