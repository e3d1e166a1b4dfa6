"""`micro new`: the project that it writes works as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_group
from typer.testing import CliRunner

from micro import __version__
from micro.cli._app import app

ROOT = Path(__file__).parents[4]


def make(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["new", *arguments])
    return done.exit_code, done.output


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "prices"
    code, output = make("price-list", "--folder", str(folder))
    assert code == 0, output
    return folder


def test_the_tests_of_a_new_project_pass(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_its_sources_are_formatted_and_sorted(project: Path) -> None:
    for command in (["check", "--select", "E,F,I,UP,B"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", "."],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_its_files_fit_together(project: Path) -> None:
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    compose = yaml.safe_load((project / "compose.yaml").read_text())
    workflow = yaml.safe_load((project / ".github/workflows/test.yml").read_text())
    texts = "".join(path.read_text() for path in project.rglob("*") if path.is_file())

    assert metadata["name"] == "price-list"
    assert metadata["dependencies"] == [f"natsmicro[cli]>={__version__}"]
    assert set(compose["services"]) == {"nats", "price-list"}
    assert "test" in workflow["jobs"]
    assert not any(f"__{value}__" in texts for value in ("NAME", "PACKAGE", "VERSION"))


def test_its_image_runs_a_command_that_exists(project: Path) -> None:
    [line] = [
        line for line in (project / "Dockerfile").read_text().splitlines() if line[:4] == "CMD "
    ]
    _, name, target, *flags = yaml.safe_load(line[4:])
    known = {option for param in get_group(app).commands[name].params for option in param.opts}

    module = project / "src" / target.partition(":")[0].replace(".", os.sep)
    assert module.with_suffix(".py").is_file()
    assert {flag for flag in flags if flag.startswith("--")} <= known


@pytest.mark.parametrize("of", ["a project", "the repository"])
def test_an_image_passes_the_linter_of_images(project: Path, of: str) -> None:
    image = (project if of == "a project" else ROOT / "k8s") / "Dockerfile"
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, "--no-color", image], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_the_next_commands_install_natsmicro_from_where_it_came(tmp_path: Path) -> None:
    code, output = make("shop", "--folder", str(tmp_path / "a folder"))

    assert code == 0
    assert output.endswith(
        f"\nNext:\n  cd '{tmp_path}/a folder'\n"
        f"  pip wheel --no-deps --wheel-dir wheels file://{ROOT}\n"
        "  pip install --find-links wheels -e '.[test]'\n"
        "  pytest\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Shop",), "invalid name 'Shop': expected small letters"),
        (("json",), "invalid name 'json': expected one that is no module or keyword of Python"),
        (("class",), "invalid name 'class': expected one that is no module"),
        (("micro",), "invalid name 'micro': expected one that is no module"),
    ],
)
def test_an_impossible_name_is_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    code, output = make(*arguments)

    assert code == 2
    assert message in output


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, output = make("shop", "--folder", str(tmp_path), "--json")

    assert code == 2
    assert "is not empty" in output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
