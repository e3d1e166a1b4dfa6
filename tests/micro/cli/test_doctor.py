"""`micro doctor` names the fault of a server or user, and the fix."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import nats
import pytest

import micro
from micro.testing import nats_server

from ..certificates import write_certificates
from .conftest import Cli

ALL = [
    "settings",
    "native",
    "connection",
    "encrypted",
    "inbox",
    "service",
    "discovery",
    "request",
    "others",
]
# The least permissions of a service, then less.
LEAST = """
authorization {{ users = [ {{ user: me, password: pw, permissions: {{
  subscribe: {{ allow: [{subscribe}] }}, publish: {{ allow: [{publish}] }}
}} }} ] }}
"""
DISCOVERY = ", ".join(f'"$SRV.{verb}", "$SRV.{verb}.>"' for verb in ("PING", "INFO", "STATS"))


def examine(cli: Cli, *arguments: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    done = cli.quick("doctor", "--json", *arguments)
    findings = {f["check"]: (f["status"], f["detail"], f["fix"]) for f in done.json}
    return done.code, findings


def test_all_is_well_on_an_open_server(cli: Cli) -> None:
    code, findings = examine(cli)
    shown = cli("doctor")

    assert code == 0
    assert list(findings) == ALL
    assert {status for status, _, _ in findings.values()} == {"ok"}
    assert "nats-server 2." in findings["connection"][1]
    assert shown.code == 0
    lines = [line for line in shown.out.splitlines() if not line.startswith(" ")]
    assert [line.split(":")[0].split() for line in lines] == [["ok", check] for check in ALL]


def test_no_server(cli: Cli) -> None:
    code, findings = examine(cli, "--server", "nats://127.0.0.1:1")
    status, _, fix = findings["connection"]

    assert (code, status) == (1, "failed")
    assert fix == "start a server with `micro server`, or name a running one with --server"


def test_settings_that_cannot_be_used(cli: Cli) -> None:
    code, findings = examine(cli, "--creds", "none.creds")

    assert code == 1
    assert findings == {
        "settings": (
            "failed",
            "cannot read credentials file 'none.creds': No such file or directory",
            "correct the flag, file or variable",
        )
    }


def test_wrong_credentials(cli: Cli) -> None:
    with nats_server(config="authorization { user: me, password: pw }") as server:
        code, findings = examine(cli, "-s", server.url, "--user", "me", "--password", "other")
        status, detail, fix = findings["connection"]

    assert (code, status) == (1, "failed")
    assert "uthorization" in detail
    assert fix.startswith("check user, password, token, --creds or --nkey")


@pytest.mark.parametrize(
    ("subscribe", "publish", "expected"),
    [
        pytest.param(
            f'"svc.echo q", {DISCOVERY}',
            '"_INBOX.>", "_R_.>"',
            {"inbox": "warning", "service": "ok"},
            id="just enough for a service",
        ),
        pytest.param(
            f'{DISCOVERY}, "_INBOX.>"',
            '"_INBOX.>"',
            {"inbox": "ok", "service": "ok", "discovery": "warning", "request": "warning"},
            id="a service with an inbox",
        ),
        pytest.param(
            f'{DISCOVERY}, "_INBOX.>", "micro-doctor.>"',
            '"_INBOX.>", "$SRV.>"',
            {
                "inbox": "ok",
                "service": "ok",
                "discovery": "ok",
                "request": "warning",
                "others": "ok",
            },
            id="no right to ask",
        ),
        pytest.param(
            '"_INBOX.>"',
            '">"',
            {"inbox": "ok", "service": "warning", "others": "ok"},
            id="no discovery subjects",
        ),
        pytest.param(
            '">"',
            '"$SRV.>"',
            {
                "inbox": "warning",
                "service": "ok",
                "discovery": "failed",
                "request": "warning",
                "others": "ok",
            },
            id="no right to answer",
        ),
    ],
)
def test_permissions(cli: Cli, subscribe: str, publish: str, expected: dict[str, str]) -> None:
    with nats_server(config=LEAST.format(subscribe=subscribe, publish=publish)) as server:
        code, findings = examine(
            cli, "-s", server.url, "--user", "me", "--password", "pw", "--timeout", "1"
        )
    seen = {check: status for check, (status, _, _) in findings.items()}

    assert seen == {
        "settings": "ok",
        "native": "ok",
        "connection": "ok",
        "encrypted": "ok",
        **expected,
    }
    assert code == (1 if "failed" in expected.values() else 0)
    assert all(fix for status, _, fix in findings.values() if status != "ok")


def test_a_fix_names_the_permission(cli: Cli, tmp_path: Path) -> None:
    config = LEAST.format(subscribe='"_INBOX.>"', publish='">"')
    with nats_server(config=config) as server:
        _, findings = examine(cli, "-s", server.url, "--user", "me", "--password", "pw")

    assert findings["service"][2] == (
        "nothing for a caller; to run services, allow the user to subscribe to "
        '"$SRV.PING", "$SRV.PING.>", '
        '"$SRV.INFO", "$SRV.INFO.>", "$SRV.STATS", "$SRV.STATS.>"'
    )


def test_a_host_that_is_unknown(cli: Cli) -> None:
    code, findings = examine(cli, "--server", "nats://no-such-host.invalid:4222")
    status, _, fix = findings["connection"]

    assert (code, status) == (1, "failed")
    assert fix == "check the host name given with --server, NATS_URL or the context"


def test_a_certificate_that_is_not_trusted(cli: Cli, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    files = f'cert_file: "{tmp_path}/both.pem", key_file: "{tmp_path}/both.key"'
    with nats_server(config=f"tls {{ {files} }}") as server:
        code, findings = examine(cli, "-s", server.url)
        trusted, _ = examine(cli, "-s", server.url, "--tlsca", str(tmp_path / "ca.pem"))
    status, _, fix = findings["connection"]

    assert (code, status, trusted) == (1, "failed", 0)
    assert "--tlsca" in fix


def test_a_fix_is_shown_below_its_finding(cli: Cli) -> None:
    done = cli.quick("doctor", "--server", "nats://127.0.0.1:1")

    assert done.code == 1
    assert done.out.splitlines()[-1] == (
        "        fix: start a server with `micro server`, or name a running one with --server"
    )


EXAMPLE = Path(__file__).parents[3] / "examples" / "permissions.conf"


@pytest.mark.parametrize(
    ("user", "password", "inbox"),
    [
        ("shop", "change-me", ""),
        ("caller", "change-me-too", "_INBOX.caller"),
        ("caller", "change-me-too", ""),
        ("operator", "change-me-as-well", "_INBOX.operator"),
    ],
)
def test_no_user_of_the_example_of_permissions_fails(
    cli: Cli, tmp_path: Path, user: str, password: str, inbox: str
) -> None:
    with nats_server(config=EXAMPLE.read_text()) as server:
        context = {"url": server.url, "user": user, "password": password, "inbox_prefix": inbox}
        folder = tmp_path / "nats" / "context"
        folder.mkdir(parents=True)
        (folder / "me.json").write_text(json.dumps(context))
        cli.environ["XDG_CONFIG_HOME"] = str(tmp_path)
        del cli.environ["NATS_URL"]
        code, findings = examine(cli, "--context", "me", "--timeout", "1")

    assert (code, [f for f, (status, _, _) in findings.items() if status == "failed"]) == (0, [])


NOTHING = 'deny: [">"]'
OWN = 'allow: ["micro-doctor.>", "$SRV.>"]'


@pytest.mark.parametrize("publish", [NOTHING, OWN])
def test_a_service_with_allow_responses_does_not_fail(cli: Cli, publish: str) -> None:
    permissions = f'subscribe: {{ allow: [">"] }}, publish: {{ {publish} }}'
    user = f"user: me, password: pw, permissions: {{ {permissions}, allow_responses: true }}"
    with nats_server(config=f"authorization {{ users = [ {{ {user} }} ] }}") as server:
        code, findings = examine(
            cli, "-s", server.url, "--user", "me", "--password", "pw", "--timeout", "1"
        )

    assert code == 0
    assert findings["request"][0] == ("ok" if publish == OWN else "warning")


async def test_a_stream_that_takes_the_requests_of_an_endpoint_is_named(cli: Cli) -> None:
    with nats_server(jetstream=True) as server:
        async with await nats.connect(server.url) as nc:
            await nc.jetstream().add_stream(name="orders", subjects=["orders.>"])
            async with micro.add_service(nc, "shop", "1.0.0") as service:
                await service.add_endpoint("new", echo, "orders.new")
                await service.add_endpoint("old", echo, "other.old")
                code, findings = await asyncio.to_thread(examine, cli, "-s", server.url)

    assert (code, findings["stream"][0]) == (0, "warning")
    assert findings["stream"][1] == "stream 'orders' captures 'orders.new': callers get a PubAck"


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


def test_an_encrypted_connection_is_named(cli: Cli, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    files = f'cert_file: "{tmp_path}/both.pem", key_file: "{tmp_path}/both.key"'
    with nats_server(config=f"tls {{ {files} }}") as server:
        _, findings = examine(cli, "-s", server.url, "--tlsca", str(tmp_path / "ca.pem"))

    assert findings["encrypted"] == ("ok", "the connection uses TLS", "")
