"""The source tree is as small, and as documented, as CONTRIBUTING says."""

from __future__ import annotations

import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "micro": ROOT / "src/micro",
    "micro_http": ROOT / "src/micro_http",
    "micro_schema_registry": ROOT / "services/micro_schema_registry",
    "micro_etcd": ROOT / "services/micro_etcd",
}
MAP = (ROOT / "docs/architecture.md").read_text()


def folders(package: Path) -> list[Path]:
    """Return a package and the packages inside it."""
    return [path.parent for path in package.rglob("__init__.py")]


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_no_folder_has_more_than_fourteen_modules(package: Path) -> None:
    modules = {
        str(folder.relative_to(package)): len(
            [path for path in folder.glob("*.py") if not path.name.startswith("__")]
        )
        for folder in folders(package)
    }
    assert {name: count for name, count in modules.items() if count > 14} == {}


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_map_names_every_folder(package: Path) -> None:
    names = [folder.name for folder in folders(package) if folder != package]
    assert [name for name in names if f"  {name}/ " not in MAP] == []


def test_every_file_that_the_map_names_exists() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", MAP))
    existing = {
        str(path.relative_to(base))
        for package in PACKAGES.values()
        for path in package.rglob("*.py")
        for base in (package, package.parent)
    }
    assert len(named) > 30
    assert named - existing == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_or_folders_import_each_other_in_a_circle(package: str) -> None:
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    circles = {
        importing: imported
        for parent in graph.modules
        if graph.find_children(parent)
        for importing, imported in graph.nominate_cycle_breakers(parent)
    }
    assert circles == {}


@pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES)
def test_tests_stand_in_folders_of_the_same_names(package: Path) -> None:
    tests = ROOT / "tests" / package.name
    tested = {str(path.parent.relative_to(tests)) for path in tests.rglob("test_*.py")}
    existing = {str(folder.relative_to(package)) for folder in folders(package)}
    assert tested - existing == set()
