"""The commands that inspect and call services, with ours."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from typer.main import get_group

from micro import __version__
from micro._errors import ConfigError
from micro._protocol.models import ServiceInfo
from micro.cli._app import app
from micro.cli._request import find_subject
from micro.testing import NatsServer, nats_server

from .conftest import Cli, Running
from .test_exporter import fetch, scrape

pytestmark = pytest.mark.usefixtures("service")

COMMANDS = sorted(get_group(app).commands)
DOCUMENTS = ("asyncapi", "exporter", "generate")  # with a format of their own
CONNECTION = ("server", "user", "password", "creds", "nkey", "tlscert", "tlskey", "tlsca")
NO_SERVICE = "no instance of service 'nobody' answered; `micro ls` lists the running services"


def test_ls_groups_instances_by_version(cli: Cli) -> None:
    shown, services = cli("ls"), cli.quick("ls", "--json").json

    assert services[0].pop("instances") != []
    assert services == [
        {"name": "echo", "version": "1.2.3", "description": "Echoes requests", "endpoints": 4}
    ]
    assert shown.code == 0
    assert [line.split() for line in shown.out.splitlines()] == [
        ["Service", "Version", "Instances", "Endpoints", "Description"],
        ["echo", "1.2.3", "1", "4", "Echoes", "requests"],
    ]


def test_ping_measures_a_round_trip(cli: Cli) -> None:
    [instance] = cli("ping", "echo", "--json").json
    shown = cli.quick("ping")

    assert (instance["name"], instance["version"]) == ("echo", "1.2.3")
    assert instance["rtt_ms"] > 0
    assert instance["id"] in shown.out
    assert " ms" in shown.out


def test_info_shows_endpoints_and_metadata(cli: Cli) -> None:
    [instance] = cli("info", "echo", "--json").json
    [same] = cli.quick("info", "echo", instance["id"], "--json").json
    shown = cli.quick("info")

    assert same == instance
    assert [one["subject"] for one in instance["endpoints"]] == ["echo", "pid", "slow", "math.add"]
    assert f"echo 1.2.3  instance {instance['id']}" in shown.out
    assert "team: blue" in shown.out
    assert "  add  response: integer" in shown.out


def test_info_shows_schemas_as_tables_or_raw(cli: Cli) -> None:
    table = [line.split() for line in cli.quick("info", "echo").out.splitlines()]
    raw = cli.quick("info", "echo", "--schema", "raw").out
    none = cli.quick("info", "echo", "--schema", "none").out

    start = table.index(["add", "request"])
    assert table[start + 1 : start + 4] == [
        ["Field", "Type", "Required", "Default"],
        ["a", "integer", "yes"],
        ["b", "integer", "yes"],
    ]
    assert 'micro.request.schema: {"' in raw
    assert "response" not in none


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ping", "nobody"], NO_SERVICE),
        (["info", "nobody"], NO_SERVICE),
        (
            ["info", "echo", "nobody"],
            "no instance 'nobody' of service 'echo' answered; `micro ping echo` lists them",
        ),
        (["stats", "nobody"], NO_SERVICE),
        (
            ["request", "nobody"],
            "no service listens on 'nobody'; `micro info` lists the subjects of services",
        ),
        (["request", "--service", "nobody", "a"], NO_SERVICE),
        (
            ["request", "--service", "echo", "sum"],
            "service 'echo' has no endpoint 'sum': expected one of add, echo, pid, slow",
        ),
    ],
)
def test_nobody_there_is_exit_code_3(cli: Cli, arguments: list[str], message: str) -> None:
    done = cli.quick(*arguments, "--json")

    assert done.code == 3
    assert done.err == f"micro: {message}\n"
    assert done.json == {"error": {"message": message}}


def test_stats_count_requests_and_errors(cli: Cli) -> None:
    def counters() -> tuple[int, int]:
        [instance] = cli.quick("stats", "echo", "--json").json
        [add] = [one for one in instance["endpoints"] if one["name"] == "add"]
        return add["num_requests"], add["num_errors"]

    before = counters()
    cli.quick("request", "math.add", "{}")
    after = counters()
    shown = cli.quick("stats")

    assert after == (before[0] + 1, before[1] + 1)
    assert shown.code == 0
    assert "400:invalid request" in shown.out


def test_watched_stats_have_rates_until_interrupted(cli: Cli) -> None:
    watching = cli.start("stats", "--watch", "--interval", "200ms", "--json")
    first = json.loads(watching.line("io.nats.micro.v1.stats_response"))
    for _ in range(3):
        assert cli.quick("request", "echo", "hello").code == 0
    rates = 0.0
    while rates == 0:
        [look] = json.loads(watching.line("requests_per_second"))
        rates = look["endpoints"][0]["requests_per_second"]

    assert first[0]["endpoints"][0]["requests_per_second"] is None
    assert watching.stop(signal.SIGINT) == 130


def test_watched_stats_print_a_table_per_look(cli: Cli) -> None:
    watching = cli.start("stats", "echo", "--watch", "--interval", "100ms")
    watching.line("Req/s")
    watching.line("Req/s")

    assert watching.stop(signal.SIGINT) == 130


# --- request ------------------------------------------------------------------------------------


def test_request_prints_the_payload_as_it_is(cli: Cli) -> None:
    done = cli("request", "echo", "héllo")

    assert (done.code, done.out, done.err) == (0, "héllo", "")


def test_request_reads_standard_input(cli: Cli) -> None:
    done = cli("request", "echo", "-", "-H", "Trace:7", "--json", stdin=b"\xff\x00")

    assert done.json["data"] == {"base64": "/wA="}
    assert done.json["headers"]["Trace"] == "7"
    assert done.json["elapsed_ms"] > 0


def test_request_finds_an_endpoint_by_name(cli: Cli) -> None:
    done = cli.quick("request", "--service", "echo", "add", '{"a": 1, "b": 2}', "--json")

    assert (done.json["subject"], done.json["data"]) == ("math.add", 3)


def test_a_service_error_is_exit_code_5_with_its_code(cli: Cli) -> None:
    done = cli("request", "math.add", '{"a": 1}', "--json")

    assert done.code == 5
    assert done.err == "micro: service error 400: invalid request (from 'math.add')\n"
    assert done.json["error"]["code"] == 400
    assert done.json["error"]["data"][0]["loc"] == ["b"]


def test_an_invalid_request_names_its_fields(cli: Cli) -> None:
    done = cli.quick("request", "math.add", '{"a": "x"}')

    assert done.err.splitlines()[1:] == [
        "  a: Input should be a valid integer, unable to parse string as an integer",
        "  b: Field required",
    ]


def test_a_request_that_is_no_object_is_told_as_a_whole(cli: Cli) -> None:
    done = cli.quick("request", "math.add", "3")

    assert done.err.splitlines()[1].startswith("  the payload: ")


def test_a_file_is_sent_as_it_is(cli: Cli) -> None:
    path = cli.folder / "payload"
    path.write_bytes(b"\x00{{Count}}\xff")
    done = cli("request", "echo", "-f", str(path), "--json")
    both = cli.quick("request", "echo", "x", "-f", str(path))
    missing = cli.quick("request", "echo", "-f", "nowhere")

    assert done.json["data"] == {"base64": "AHt7Q291bnR9ff8="}
    assert (both.code, both.err) == (2, "micro: give DATA or --file, not both\n")
    assert (missing.code, missing.err) == (
        2,
        "micro: cannot read 'nowhere': No such file or directory\n",
    )


def test_several_requests_fill_in_a_template(cli: Cli) -> None:
    done = cli.quick("request", "echo", "n {{Count}} {{ .Count }} {{x}}", "--count", "3")
    raw = cli.quick("request", "echo", "{{Count}}", "--no-templates")

    assert done.out == "n 1 1 {{x}}\nn 2 2 {{x}}\nn 3 3 {{x}}\n"
    assert raw.out == "{{Count}}"


def test_replies_are_gathered_until_enough_or_the_end(cli: Cli) -> None:
    one = cli.quick("request", "$SRV.PING.echo", "--replies", "0", "--json")
    few = cli.quick("request", "echo", "hi", "--replies", "2", "--timeout", "300ms")
    nobody = cli.quick("request", "nobody", "--replies", "2")

    assert [line["data"]["name"] for line in map(json.loads, one.out.splitlines())] == ["echo"]
    assert (few.code, few.out) == (4, "hi\n")
    assert few.err == "micro: timed out: 1 of 2 answers from 'echo' within 0.3 s\n"
    assert nobody.code == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("micro request --service echo a", ["add"]),
        ("micro request --service echo ", ["add", "echo", "pid", "slow"]),
        ("micro request ma", ["math.add"]),
        ("micro bench echo s", ["slow"]),
        ("micro info e", ["echo"]),
        ("micro run app", ["app:setup"]),
    ],
)
def test_a_shell_completes_names(cli: Cli, line: str, words: list[str]) -> None:
    done = cli(
        _TYPER_COMPLETE_ARGS=line,
        _MICRO_COMPLETE="complete_fish",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )

    assert [shown.partition("\t")[0] for shown in done.out.splitlines()] == words


def test_no_answer_in_time_is_exit_code_4(cli: Cli) -> None:
    done = cli.quick("request", "silent", "--timeout", "100ms")

    assert (done.code, done.err) == (4, "micro: timed out: no answer from 'silent' within 0.1 s\n")


def test_a_malformed_header_is_wrong_usage(cli: Cli) -> None:
    done = cli.quick("request", "echo", "-H", "Trace")

    assert (done.code, done.err) == (2, "micro: invalid header 'Trace': expected NAME:VALUE\n")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["request", "echo"], "request"),
        (["request", "--service", "echo", "e"], "question"),
        (["ls"], "question"),
        (["ping"], "question"),
        (["info", "echo"], "question"),
        (["stats"], "question"),
    ],
)
def test_what_is_not_permitted_is_told(cli: Cli, arguments: list[str], what: str) -> None:
    user = 'user: me, password: pw, permissions: { publish: { deny: ["echo", "$SRV.>"] } }'
    with nats_server(config=f"authorization {{ users = [ {{ {user} }} ] }}") as server:
        done = cli.quick(
            *(*arguments, "-s", server.url, "--user", "me", "--password", "pw"),
            *("--timeout", "500ms"),
        )

    assert done.code == 2
    assert f"the server refuses the {what}: permissions violation for publish" in done.err


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("", "invalid subject '': expected tokens separated by dots"),
        ("a.>", "invalid subject 'a.>': expected one without wildcards"),
        ("a b", "invalid subject 'a b': expected tokens separated by dots, without white space"),
    ],
)
def test_a_subject_that_is_none_is_wrong_usage(cli: Cli, subject: str, message: str) -> None:
    done = cli.quick("request", subject)

    assert done.code == 2
    assert done.err.startswith(f"micro: {message}")


def test_subjects_of_the_server_can_be_asked(cli: Cli) -> None:
    assert cli.quick("request", "$SRV.PING.echo", "--json").json["data"]["name"] == "echo"


def test_an_argument_is_sent_as_the_bytes_it_is(cli: Cli) -> None:
    done = cli("request", "echo", os.fsdecode(b"\xff\xfe"), "--json")

    assert done.json["data"] == {"base64": "//4="}


def test_an_interval_of_nothing_is_wrong_usage(cli: Cli) -> None:
    assert cli.quick("stats", "--watch", "--interval", "0").code == 2


def test_an_endpoint_on_several_subjects_is_not_guessed() -> None:
    endpoints = [{"name": "a", "subject": "s.1"}, {"name": "a", "subject": "s.2"}]
    info = ServiceInfo.from_response(
        {"name": "s", "id": "i", "version": "1.0.0", "endpoints": endpoints}
    )

    with pytest.raises(ConfigError, match=r"name one of s\.1, s\.2 without --service"):
        find_subject([info], "s", "a")


def test_services_under_another_prefix_are_found(cli: Cli) -> None:
    (cli.folder / "other.py").write_text(
        "async def setup(ctx):\n"
        "    async def hi(name: str) -> str:\n"
        "        return 'hi ' + name\n"
        "    service = await ctx.add_service('away', '1.0.0', api_prefix='OPS')\n"
        "    await service.add_endpoint('hi', hi)\n"
    )
    running = cli.start("run", "other:setup")
    running.line("is set up")
    found = cli.quick("ls", "--prefix", "OPS", "--json").json
    asked = cli.quick("request", "--service", "away", "hi", '"Ann"', "--prefix", "OPS")
    hidden = cli.quick("info", "away")

    assert [service["name"] for service in found] == ["away"]
    assert asked.out == '"hi Ann"'
    assert hidden.code == 3
    assert cli.quick("stats", "away", "--prefix", "OPS").code == 0
    document = cli.quick("asyncapi", "--prefix", "OPS").json
    assert [each["address"] for each in document["channels"].values()].count("hi") == 1
    assert "class Away" in cli.quick("generate", "client", "away", "--prefix", "OPS").out
    exporter = cli.start("exporter", "--listen", "127.0.0.1:0", "--prefix", "OPS")
    assert 'service="away"' in scrape(exporter.line("http://"))
    page = cli.start("dashboard", "--port", "0", "--json", "--prefix", "OPS")
    url = json.loads(page.line("url"))["url"]
    while '"name":"away"' not in fetch(url + "api/state"):  # the page is served before it connects
        pass
    assert (running.stop(), exporter.stop(), page.stop()) == (0, 0, 0)


# --- connection and help ------------------------------------------------------------------------


def test_flags_rule_over_the_environment(cli: Cli, server: NatsServer) -> None:
    done = cli("ls", "--server", server.url, "--json", NATS_URL="nats://127.0.0.1:1")

    assert done.code == 0
    assert done.json[0]["name"] == "echo"


def test_a_selected_context_is_used_by_tools(cli: Cli, server: NatsServer, tmp_path: Path) -> None:
    folder = tmp_path / "nats" / "context"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text(json.dumps({"url": server.url}))
    (folder.parent / "context.txt").write_text("mine")
    done = cli("ls", "--json", NATS_URL="", XDG_CONFIG_HOME=str(tmp_path))

    assert done.code == 0
    assert done.json[0]["name"] == "echo"


def test_no_server_is_one_line_and_exit_code_1(cli: Cli) -> None:
    done = cli.quick("ls", "--server", "nats://127.0.0.1:1")

    assert done.code == 1
    assert done.err.startswith("micro: cannot connect to nats://127.0.0.1:1: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "--password", "s3cr3t"], "--password needs --user"),
        (
            ["ls", "--creds", "/none"],
            "cannot read credentials file '/none': No such file or directory",
        ),
        (["ls", "--nkey", "/none"], "cannot read nkey file '/none': No such file or directory"),
        (["ls", "--tlsca", "/none"], "cannot read TLS CA '/none': No such file or directory"),
        (
            ["ls", "--user", "a", "--nkey", "/none"],
            "contradictory credentials in the options: token and nkey file; give one of them",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_exit_code_2(
    cli: Cli, arguments: list[str], message: str
) -> None:
    done = cli.quick(*arguments)

    assert (done.code, done.err) == (2, f"micro: {message}\n")


def test_a_malformed_duration_is_wrong_usage(cli: Cli) -> None:
    done = cli.quick("ls", "--timeout", "soon")

    assert done.code == 2
    assert "expected a duration such as 5, 0.5, 500ms, 5s or 2m" in done.err


def test_every_command_has_help_with_examples_and_json(cli: Cli) -> None:
    for command in COMMANDS:
        done = cli.quick(command, "--help")
        words = done.out.split()

        assert done.code == 0
        assert "Examples:" in words
        assert ("--json" in words) is (command not in DOCUMENTS)
        assert f"micro {command}" in done.out
        if command not in ("new", "server"):  # these need no connection
            assert {f"--{flag}" for flag in (*CONNECTION, "context", "timeout")} <= set(words)


def test_the_version_is_told(cli: Cli) -> None:
    assert cli.quick("--version").out == f"{__version__}\n"


def test_a_shell_completes_commands_and_service_names(cli: Cli) -> None:
    def complete(line: str) -> str:
        words = len(line.split(" ")) - 1
        return cli(_MICRO_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(words)).out

    assert complete("micro pi").split() == ["ping"]
    assert complete("micro info ec").split() == ["echo"]


def test_without_its_extra_the_command_names_it(cli: Cli, service: Running) -> None:
    (cli.folder / "typer.py").write_text("raise ModuleNotFoundError(name='typer')")
    done = cli("ls", PYTHONPATH=str(cli.folder))

    assert done.code == 1
    assert done.err == (
        "micro: the command line needs the extra 'cli': pip install 'natsmicro[cli]'\n"
    )


def test_top_shows_percentiles_and_the_busiest_first(cli: Cli) -> None:
    watching = cli.start("top", "echo", "--interval", "100ms")
    watching.line("p50")
    for _ in range(20):
        assert cli.quick("request", "math.add", '{"a": 1, "b": 2}').out == "3"
    while " add " not in watching.line("echo "):
        watching.line("p99")

    assert watching.stop(signal.SIGINT) == 130


def test_top_as_json(cli: Cli) -> None:
    watching = cli.start("top", "--interval", "100ms", "--json")
    watching.line("io.nats.micro.v1.stats_response")
    assert cli.quick("request", "math.add", '{"a": 1, "b": 2}').out == "3"
    [look] = json.loads(watching.line("p99_ns"))
    (add,) = (one for one in look["endpoints"] if one["name"] == "add")

    assert add["requests_per_second"] is not None
    assert set(add["data"]["micro"]) >= {"in_flight", "queued", "rejected", "expired", "p50_ns"}
    assert watching.stop(signal.SIGINT) == 130


def test_top_wants_an_interval(cli: Cli) -> None:
    done = cli.quick("top", "--interval", "0")

    assert done.code == 2
    assert "expected a duration such as" in done.err


@pytest.mark.parametrize(
    "arguments",
    [("top", "--json"), ("stats", "--watch", "--json"), ("bench", "echo", "echo", "-d1h")],
)
def test_sigterm_ends_a_command_with_exit_code_0(
    cli: Cli, service: Running, arguments: tuple[str, ...]
) -> None:
    running = cli.start(*arguments)
    if "--json" in arguments:
        running.line('"num_requests"')
    else:
        wait_for_requests(cli)

    assert running.stop() == 0
    assert running.seen[1:] == []


def wait_for_requests(cli: Cli) -> None:
    """Wait until the benchmark sends requests."""
    while True:
        [instance] = cli.quick("stats", "echo", "--json").json
        if any(each["num_requests"] > 1000 for each in instance["endpoints"]):
            return
