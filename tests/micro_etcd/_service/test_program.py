"""`python -m micro_etcd`: its help, its configuration and its errors."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from tests.micro_etcd.guarded import guarded
from tests.micro_etcd.service import ask, process
from tests.micro_etcd.versions import Binaries

import micro
from micro import ConfigError, Context, options
from micro_etcd import EtcdSection, EtcdServiceSettings, EtcdUnauthenticatedError, setup_embedded
from micro_etcd.testing import EtcdServer


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "micro_etcd", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_has_examples() -> None:
    found = run("--help")
    assert found.returncode == 0
    assert "python -m micro_etcd --config etcd.toml" in found.stdout
    assert "[namespaces.settings]" in found.stdout


def test_a_missing_extra_is_named_in_one_line(tmp_path: Path) -> None:
    package = tmp_path / "grpc"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'grpc'\", name='grpc')"
    )
    found = run("--help", PYTHONPATH=str(tmp_path))
    assert found.returncode == 1
    assert found.stderr == ("micro_etcd: No module named 'grpc': pip install 'natsmicro[etcd]'\n")


def test_mistakes_end_with_one_line(tmp_path: Path) -> None:
    file, no_table = tmp_path / "etcd.toml", tmp_path / "no_table.toml"
    file.write_text('[namespaces.app]\nprefix = "/app/"\nallow = ["fly"]\n')
    no_table.write_text("etcd = 3\n")
    cases = [
        ((), {}, "micro_etcd: no namespace is configured, so nobody could do anything: see --help"),
        (("--config", "none.toml"), {}, "micro_etcd: cannot read configuration 'none.toml': "),
        (("--config", str(file)), {}, "micro_etcd: invalid configuration: namespaces.app.allow"),
        (
            (),
            {"ETCD_NAMESPACES": "app"},
            "micro_etcd: invalid ETCD_NAMESPACES entry 'app': expected token=prefix:right+right",
        ),
        (
            ("--config", str(no_table)),
            {},
            "micro_etcd: invalid configuration: etcd: expected a table, such as [etcd]",
        ),
        (
            ("--check",),
            {"ETCD_ENDPOINTS": "a:x", "ETCD_NAMESPACES": "app=/app/:read"},
            "micro_etcd: invalid configuration: etcd.endpoints: invalid etcd address 'a:x': ",
        ),
    ]
    for arguments, environment, line in cases:
        found = run(*arguments, **environment)
        assert found.returncode == 1
        assert found.stderr.startswith(line)
        assert found.stderr.count("\n") == 1


def test_options_that_contradict_are_wrong_usage() -> None:
    for other in (("--check",), ("--config", "etcd.toml")):
        found = run("--embedded", *other)
        assert found.returncode == 2
        assert "it goes with neither --config nor --check" in found.stderr


def test_an_etcd_that_cannot_be_run_is_named(server_url: str) -> None:
    found = run("--embedded", "--server", server_url, ETCD_BIN="/nowhere/etcd")
    assert found.returncode == 1
    assert found.stderr == (
        "micro_etcd: invalid ETCD_BIN '/nowhere/etcd': expected a program that can be run\n"
    )


def test_check_reads_the_configuration_only(tmp_path: Path) -> None:
    file = tmp_path / "etcd.toml"
    file.write_text('[namespaces.app]\nprefix = "/app/"\nallow = ["read"]\n')
    found = run("--config", str(file), "--check", ETCD_NAMESPACES="b=/b/:all c=/c:d:put+get")
    assert (found.stdout, found.returncode) == ("ok: 3 namespaces\n", 0)


def test_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "etcd.toml"
    file.write_text(
        'group = "kv"\n[etcd]\nendpoints = ["a:1"]\nuser = "u"\n'
        '[namespaces.app]\nprefix = "/app/"\nallow = ["read", "put"]\n'
    )
    environment = {
        "ETCD_ENDPOINTS": "b:2, c:3",
        "ETCD_PASSWORD": "hunter2",
        "ETCD_NAMESPACES": "x=/x:y/:lock",
    }
    found = EtcdServiceSettings.load(file, environment)
    assert found.group == "kv"
    assert found.etcd.endpoints == ["b:2", "c:3"]
    assert found.etcd.user == "u"
    assert found.namespaces["app"].allow == {"get", "list", "watch", "status", "put"}
    assert found.namespaces["x"].prefix == "/x:y/"
    assert "hunter2" not in repr(found)
    assert found.etcd.client() is not None
    with pytest.raises(ConfigError, match=r"invalid configuration: namespaces\.a\.b"):
        EtcdServiceSettings.load(None, {"ETCD_NAMESPACES": "a.b=/x/:get"})


async def test_serves_until_a_signal(
    server_url: str, shared_server: EtcdServer, caller: NatsClient, prefix: str
) -> None:
    async with process(server_url, shared_server, f"app={prefix}:all") as running:
        await ask(caller, "etcd.app.kv.put", {"key": "k", "value": "v"})
        found = await ask(caller, "etcd.app.kv.get", {"key": "k"})
        assert found["kv"]["value"] == {"s": "v"}
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 60) == 0
    assert await micro.Client(caller).ping("etcd") == []


async def test_an_embedded_etcd_for_trials(server_url: str, caller: NatsClient) -> None:
    async with Context() as ctx:
        await ctx.connect(options.servers(server_url))
        await setup_embedded(ctx)
        await ask(caller, "etcd.demo.kv.put", {"key": "k", "value": "v"})
        found = await ask(caller, "etcd.demo.kv.list", {"prefix": ""})
        assert [item["key"] for item in found["items"]] == [{"s": "k"}]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"ETCD_ENDPOINTS": "https://h:2379"}, "expected TLS (secure) for https://"),
        ({"ETCD_ENDPOINTS": "http://h:2379", "ETCD_CA": "ca.pem"}, "expected https:// with TLS"),
        (
            {"ETCD_PASSWORD": "one", "ETCD_PASSWORD_FILE": "two"},
            "expected either password or password_file",
        ),
    ],
)
def test_settings_of_etcd_that_contradict_each_other_are_refused(
    environ: dict[str, str], reason: str
) -> None:
    with pytest.raises(ConfigError) as error:
        EtcdServiceSettings.load(None, environ)

    assert str(error.value).startswith("invalid configuration: etcd: ")
    assert str(error.value).endswith(reason)
    assert "one" not in str(error.value)


def test_endpoints_are_taken_as_etcdctl_writes_them() -> None:
    environ = {"ETCD_ENDPOINTS": "http://a:2379, http://b"}

    assert EtcdServiceSettings.load(None, environ).etcd.endpoints == ["http://a:2379", "http://b"]
    EtcdServiceSettings.load(None, environ).etcd.client()


async def test_the_service_reads_its_password_at_each_login(
    binaries: Binaries, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    with guarded(binaries) as server:
        section = EtcdSection(endpoints=[str(server.address)], user="app", password_file=file)
        client = section.client()
        with pytest.raises(EtcdUnauthenticatedError):
            async with client.connect():
                pass
        file.write_text("app-secret\n")
        async with client.connect() as etcd:
            await etcd.put("/app/k", "v")
