"""Options, contexts and environment, and the keywords they become."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import nkeys
import pytest
from nats.aio.client import Server

from micro import options
from micro._backoff import Backoff
from micro._connection.reconnect_order import ReconnectHandler
from micro._connection.settings import ConnectOption, resolve
from micro._errors import ConfigError

SECRET = "s3cr3t-value"
SEED = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode()
PUBLIC = nkeys.from_seed(bytearray(SEED.encode())).public_key.decode()
JWT = "eyJ0eXAi.eyJqdGki.c2ln"
CREDS = f"""-----BEGIN NATS USER JWT-----
{JWT}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{SEED}
------END USER NKEY SEED------
"""


def keywords(*given: ConnectOption, **environ: str) -> dict[str, Any]:
    return resolve(given, environ).keywords()


def proof(*given: ConnectOption, server: str = "", **environ: str) -> dict[str, str]:
    """Return the fields of CONNECT that authenticate, without the signature."""
    credentials = resolve(given, environ).credentials
    assert credentials is not None
    fields = asyncio.run(credentials.prove(server, "nonce"))
    fields.pop("sig", None)
    return fields


@pytest.fixture
def config_home(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Write NATS CLI contexts, given as name=settings; return the environment that finds them."""

    def write(*, selected: str | None = None, **contexts: dict[str, Any]) -> dict[str, str]:
        folder = tmp_path / "nats" / "context"
        folder.mkdir(parents=True)
        for name, settings in contexts.items():
            (folder / f"{name}.json").write_text(json.dumps(settings))
        if selected is not None:
            (tmp_path / "nats" / "context.txt").write_text(f"{selected}\n")
        return {"XDG_CONFIG_HOME": str(tmp_path)}

    return write


# --- values -------------------------------------------------------------------------------------


def test_without_options_and_environment_the_defaults_hold() -> None:
    given = keywords()
    handler = given.pop("reconnect_to_server_handler")

    assert callable(handler)
    assert given == {
        "servers": ["nats://localhost:4222"],
        "dont_randomize": True,
        "ping_interval": 10,
        "max_outstanding_pings": 2,
        "connect_timeout": 2,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.5,
    }


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (options.servers("tls://[::1]"), {"servers": ["tls://[::1]:4222"]}),
        (options.name("me"), {"name": "me"}),
        (options.tls_first(), {"tls_handshake_first": True}),
        (options.inbox_prefix("_INBOX.me"), {"inbox_prefix": "_INBOX.me"}),
        (options.ping_interval(3, 4), {"ping_interval": 3, "max_outstanding_pings": 4}),
        (options.connect_timeout(0.5), {"connect_timeout": 0.5}),
        (
            options.reconnect(max_attempts=7, max_delay=3),
            {"max_reconnect_attempts": 7, "reconnect_time_wait": 3},
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, ConnectOption) else "",
)
def test_an_option_becomes_keywords_of_connect(
    option: ConnectOption, expected: dict[str, Any]
) -> None:
    given = keywords(option)

    assert {key: given[key] for key in expected} == expected


def test_a_later_option_replaces_an_earlier_one() -> None:
    assert keywords(options.name("a"), options.name("b"))["name"] == "b"


@pytest.mark.parametrize(
    "given",
    [["a", "nats://b:1"], [["a", "nats://b:1"]], ["a,nats://b:1"], ["a, ", ("nats://b:1",)]],
    ids=["texts", "list", "commas", "mixed"],
)
def test_servers_are_texts_lists_and_texts_with_commas(given: list[Any]) -> None:
    assert resolve([options.servers(*given)], {}).servers == ("nats://a:4222", "nats://b:1")


def test_the_servers_are_tried_in_random_order() -> None:
    settings = resolve([options.servers(*"abcdefgh")], {})
    orders = {tuple(settings.keywords()["servers"]) for _ in range(20)}

    assert len(orders) > 1
    assert {frozenset(order) for order in orders} == {frozenset(settings.servers)}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write one file for each kind of secret, in the forms that Go reads."""
    contents = {
        "creds": CREDS,
        "windows": CREDS.replace("\n", "\r\n"),
        "indented": "\n".join(f"  {line}  " for line in CREDS.splitlines()),
        "cut": CREDS.rstrip("\n"),
        "seed": f"{SEED}\n",
        "decorated": CREDS.partition("\n\n")[2],
        "jwt": f" {JWT} \r\n",
        "secret": f"{SECRET}\n",
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_bytes(content.encode())
    return {name: tmp_path / f"{name}.txt" for name in contents}


async def later() -> str:
    return SECRET


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda f: options.user_password("u", SECRET), {"user": "u", "pass": SECRET}),
        (lambda f: options.user_password("u", f["secret"]), {"user": "u", "pass": SECRET}),
        (lambda f: options.user_password(lambda: "u", later), {"user": "u", "pass": SECRET}),
        (lambda f: options.token(SECRET), {"auth_token": SECRET}),
        (lambda f: options.token(f["secret"]), {"auth_token": SECRET}),
        (lambda f: options.token(lambda: SECRET), {"auth_token": SECRET}),
        (lambda f: options.token(later), {"auth_token": SECRET}),
        (lambda f: options.nkey_seed(SEED), {"nkey": PUBLIC}),
        (lambda f: options.nkey_file(f["seed"]), {"nkey": PUBLIC}),
        (lambda f: options.nkey_file(str(f["decorated"])), {"nkey": PUBLIC}),
        (lambda f: options.jwt(JWT, SEED), {"jwt": JWT}),
        (lambda f: options.jwt(f["jwt"], f["seed"]), {"jwt": JWT}),
        (lambda f: options.jwt(lambda: JWT, lambda: SEED), {"jwt": JWT}),
        (lambda f: options.creds_file(f["creds"]), {"jwt": JWT}),
        (lambda f: options.creds_file(f["windows"]), {"jwt": JWT}),
        (lambda f: options.creds_file(f["indented"]), {"jwt": JWT}),
        (lambda f: options.creds_file(f["cut"]), {"jwt": JWT}),
        (lambda f: options.creds(CREDS), {"jwt": JWT}),
        (lambda f: options.creds(lambda: CREDS), {"jwt": JWT}),
    ],
)
def test_a_secret_is_a_text_a_file_or_a_function(
    files: dict[str, Path], make: Any, expected: dict[str, str]
) -> None:
    assert proof(make(files)) == expected


def test_files_and_functions_are_read_at_each_attempt(files: dict[str, Path]) -> None:
    values = iter(["monday", "tuesday"])
    of_function = resolve([options.token(lambda: next(values))], {}).credentials
    of_file = resolve([options.token(files["secret"])], {}).credentials
    assert of_function is not None
    assert of_file is not None

    async def prove() -> list[dict[str, str]]:
        first = [await of_function.prove("", ""), await of_file.prove("", "")]
        files["secret"].write_text("new")
        return [*first, await of_function.prove("", ""), await of_file.prove("", "")]

    tokens = [fields["auth_token"] for fields in asyncio.run(prove())]
    assert tokens == ["monday", SECRET, "tuesday", "new"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 1 / 0, "the function for the token failed: ZeroDivisionError"),
        (lambda: 7, "the function for the token returned 'int': expected a text"),
    ],
)
def test_a_function_without_a_secret_ends_the_attempt(function: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        proof(options.token(function))

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (options.token("t"), {"jwt": JWT, "auth_token": "t"}),
        (options.user_password("u", "p"), {"jwt": JWT, "user": "u", "pass": "p"}),
    ],
)
@pytest.mark.parametrize("signed", ["creds", "jwt"])
def test_a_jwt_may_be_sent_with_a_token_or_a_user(
    signed: str, more: ConnectOption, expected: dict[str, str]
) -> None:
    jwt = options.creds(CREDS) if signed == "creds" else options.jwt(JWT, SEED)

    assert proof(more, jwt) == proof(jwt, more) == expected


def test_a_jwt_is_sent_with_a_signature_of_the_nonce() -> None:
    credentials = resolve([options.jwt(JWT, SEED)], {}).credentials
    assert credentials is not None
    fields = asyncio.run(credentials.prove("", "nonce"))

    assert fields["jwt"] == JWT
    nkeys.from_seed(bytearray(SEED.encode())).verify(b"nonce", base64.b64decode(fields["sig"]))


def test_an_ssl_context_is_handed_on() -> None:
    context = ssl.create_default_context()

    assert resolve([options.ssl_context(context)], {}).ssl_context() is context


def test_retry_is_off_unless_asked_for() -> None:
    assert not resolve([], {}).retry
    assert resolve([options.retry()], {}).retry


def test_credentials_in_a_url_are_unquoted_and_not_part_of_it() -> None:
    option = options.servers("nats://u:p%40ss@a", "nats://b")

    assert proof(option) == {"user": "u", "pass": "p@ss"}
    assert resolve([option], {}).servers == ("nats://a:4222", "nats://b:4222")


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b", "a@b", "a:b", "a://b"])
def test_a_password_in_a_url_may_have_signs_of_a_url(password: str) -> None:
    assert proof(options.servers(f"nats://u:{password}@h")) == {"user": "u", "pass": password}
    assert proof(options.servers(f"u:{password}@h")) == {"user": "u", "pass": password}


def test_each_server_takes_the_credentials_of_its_url() -> None:
    option = options.servers("nats://c", "nats://u:p@a", "nats://t@b")

    assert proof(option, server="a:4222") == {"user": "u", "pass": "p"}
    assert proof(option, server="b:4222") == {"auth_token": "t"}
    assert proof(option, server="c:4222") == {"user": "u", "pass": "p"}  # the first that has some
    assert proof(option, server="10.0.0.1:4222") == {"user": "u", "pass": "p"}  # discovered


def test_a_user_alone_in_a_url_is_a_token() -> None:
    assert proof(options.servers(f"{SECRET}@host")) == {"auth_token": SECRET}


# --- precedence ---------------------------------------------------------------------------------


def test_the_environment_fills_what_is_not_given(tmp_path: Path) -> None:
    environ = {"NATS_URL": "a,nats://b:1", "NATS_USER": "u", "NATS_PASSWORD": "p"}

    assert resolve([], environ).servers == ("nats://a:4222", "nats://b:1")
    assert keywords(options.name("n"), **environ)["name"] == "n"
    assert proof(options.name("n"), **environ) == {"user": "u", "pass": "p"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"NATS_TOKEN": "t"}, {"auth_token": "t"}),
        ({"NATS_TOKEN_FILE": "{secret}"}, {"auth_token": SECRET}),
        ({"NATS_USER": "t"}, {"auth_token": "t"}),
        ({"NATS_USER": "u", "NATS_PASSWORD_FILE": "{secret}"}, {"user": "u", "pass": SECRET}),
        ({"NATS_NKEY": SEED}, {"nkey": PUBLIC}),
        ({"NATS_NKEY": f" {SEED}\n"}, {"nkey": PUBLIC}),
        ({"NATS_NKEY": "{seed}"}, {"nkey": PUBLIC}),
        ({"NATS_CREDS": "{creds}"}, {"jwt": JWT}),
        ({"NATS_CREDS": CREDS}, {"jwt": JWT}),
        ({"NATS_CREDS_DATA": CREDS}, {"jwt": JWT}),
        ({"NATS_JWT": JWT, "NATS_SEED": SEED}, {"jwt": JWT}),
        ({"NATS_JWT": "{jwt}", "NATS_SEED": "{seed}"}, {"jwt": JWT}),
        (
            {"NATS_JWT": JWT, "NATS_NKEY": "{seed}", "NATS_TOKEN": "t"},
            {"jwt": JWT, "auth_token": "t"},
        ),
    ],
)
def test_environment_names(
    files: dict[str, Path], environ: dict[str, str], expected: dict[str, str]
) -> None:
    paths = {name: str(path) for name, path in files.items()}
    given = {
        key: value.format(**paths) if "{" in value else value for key, value in environ.items()
    }

    assert proof(**given) == expected


def test_an_empty_variable_is_none() -> None:
    assert keywords(NATS_URL="")["servers"] == ["nats://localhost:4222"]


def test_option_then_named_context_then_environment_then_context_of_the_environment(
    config_home: Callable[..., dict[str, str]],
) -> None:
    environ = config_home(
        mine={"url": "mine", "inbox_prefix": "_mine"},
        other={"url": "other", "inbox_prefix": "_other", "tls_first": True, "token": ""},
        selected="mine",
    )
    named, env = options.context("mine"), {"NATS_URL": "env"}
    other, fallback = {"NATS_CONTEXT": "other"}, options.selected_context()

    def server(*given: ConnectOption, **more: str) -> str:
        return resolve(given, environ | more).servers[0].removeprefix("nats://").partition(":")[0]

    assert server(options.servers("opt"), named, **env) == "opt"
    assert server(named, **env, **other) == "mine"
    assert server(**env, **other) == "env"
    assert server(**other) == "other"
    assert server(fallback, **other) == "other"
    assert server(fallback) == "mine"
    assert server() == "localhost"
    assert resolve([], environ | env | other).plain["tls_handshake_first"] is True


def test_credentials_of_two_sources_never_mix() -> None:
    given = proof(options.token("t"), NATS_USER="u", NATS_PASSWORD="p")

    assert given == {"auth_token": "t"}


def test_credentials_in_a_given_url_rule_over_those_of_the_environment() -> None:
    assert proof(options.servers("u:p@host"), NATS_TOKEN="t") == {"user": "u", "pass": "p"}


def test_a_context_gives_everything_adr_21_lists(
    config_home: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    seed = tmp_path / "me.nk"
    seed.write_text(SEED)
    environ = config_home(
        full={
            "description": "all of it",
            "url": "nats://a:1,b",
            "user_jwt": JWT,
            "nkey": str(seed),
            "nsc": "",
            "jetstream_domain": "hub",
            "inbox_prefix": "_x",
            "tls_first": True,
        }
    )
    given = keywords(options.context("full"), **environ)

    assert sorted(given["servers"]) == ["nats://a:1", "nats://b:4222"]
    assert given["inbox_prefix"] == "_x"
    assert given["tls_handshake_first"] is True
    assert proof(options.context("full"), **environ) == {"jwt": JWT}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"creds": "{creds}"}, {"jwt": JWT}),
        ({"creds": "file://{creds}"}, {"jwt": JWT}),
        ({"creds": "$FOLDER/creds.txt"}, {"jwt": JWT}),
        ({"creds": f"data:;base64,{base64.b64encode(CREDS.encode()).decode()}"}, {"jwt": JWT}),
        ({"creds": CREDS}, {"jwt": JWT}),
        ({"creds": "env://CREDS_TEXT"}, {"jwt": JWT}),
        ({"nkey": "{seed}"}, {"nkey": PUBLIC}),
        ({"nkey": "file://$FOLDER/seed.txt"}, {"nkey": PUBLIC}),
        ({"nkey": f"{SEED}\n"}, {"nkey": PUBLIC}),
        ({"user_jwt": JWT, "user_seed": SEED}, {"jwt": JWT}),
        ({"user_jwt": "{jwt}", "user_seed": "{seed}"}, {"jwt": JWT}),
        ({"user_jwt": "file://{jwt}", "user_seed": "env://SEED_TEXT"}, {"jwt": JWT}),
        ({"token": "env://TOKEN_TEXT"}, {"auth_token": SECRET}),
        ({"token": "file://{secret}"}, {"auth_token": SECRET}),
        ({"user": "u", "password": "data:text/plain;base64,cA=="}, {"user": "u", "pass": "p"}),
        ({"creds": "{creds}", "token": "t"}, {"jwt": JWT, "auth_token": "t"}),
    ],
)
def test_a_context_may_refer_to_its_secrets(
    config_home: Callable[..., dict[str, str]],
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    expected: dict[str, str],
) -> None:
    monkeypatch.setenv("FOLDER", str(files["creds"].parent))
    for name, value in {"CREDS_TEXT": CREDS, "SEED_TEXT": SEED, "TOKEN_TEXT": SECRET}.items():
        monkeypatch.setenv(name, value)
    paths = {name: str(path) for name, path in files.items()}
    settings = {k: v.format(**paths) if "{" in v else v for k, v in settings.items()}

    assert proof(**config_home(c=settings), NATS_CONTEXT="c") == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"creds": "op://vault/item/field"},
            "'creds' of NATS context {path} uses op://, which only the NATS CLI supports: "
            "expected a path, file://, env:// or data:",
        ),
        (
            {"nkey": "nsc://o/a/u"},
            "'nkey' of NATS context {path} uses nsc://, which only the NATS CLI supports: "
            "expected a path, file://, env:// or data:",
        ),
        (
            {"token": "env://NOT_SET_AT_ALL"},
            "'token' of NATS context {path} names the variable NOT_SET_AT_ALL, "
            "which is not set or empty",
        ),
        (
            {"creds": "data:;base64,%%%"},
            "'creds' of NATS context {path} is malformed: "
            "expected data:;base64, and text in base64",
        ),
    ],
)
def test_a_reference_that_cannot_be_followed_is_named(
    config_home: Callable[..., dict[str, str]],
    tmp_path: Path,
    settings: dict[str, str],
    message: str,
) -> None:
    environ = config_home(c=settings)
    with pytest.raises(ConfigError) as caught:
        resolve([], environ | {"NATS_CONTEXT": "c"})

    path = repr(str(tmp_path / "nats" / "context" / "c.json"))
    assert str(caught.value) == message.replace("{path}", path)


def test_contexts_are_found_below_home(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "nats" / "context"
    folder.mkdir(parents=True)
    (folder / "c.json").write_text('{"url": "host"}')

    assert resolve([options.context("c")], {"HOME": str(tmp_path)}).servers == ("nats://host:4222",)


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "environ", "message"),
    [
        (
            [options.token("t"), options.user_password("u", "p")],
            {},
            "contradictory credentials in the options: token and user and password; "
            "give one of them",
        ),
        (
            [options.token("t"), options.servers("u:p@h")],
            {},
            "contradictory credentials in the options: token and user and password; "
            "give one of them",
        ),
        (
            [],
            {"NATS_TOKEN": "t", "NATS_NKEY": "f"},
            "contradictory credentials in the environment: nkey file and token; give one of them",
        ),
        ([], {"NATS_PASSWORD": "p"}, "the password in the environment has no user: expected both"),
        (
            [options.tls(ca="ca"), options.ssl_context(ssl.create_default_context())],
            {},
            "contradictory options tls and ssl_context: give one of them",
        ),
        (
            [options.servers()],
            {},
            "no server URL given: expected at least one, such as 'nats://host:4222'",
        ),
        (
            [options.servers("http://u:p@h")],
            {},
            "invalid server URL 'h': expected one of the schemes nats, tls, ws, wss",
        ),
        (
            [options.servers("nats://u:p@h:port")],
            {},
            "invalid server URL 'h:port': Port could not be cast to integer value as 'port'",
        ),
        (
            [options.servers("nats://")],
            {},
            "invalid server URL 'nats://': expected 'nats://host:port'",
        ),
        (
            [options.servers("nats://h", "ws://h")],
            {},
            "WebSocket and other server URLs do not go together: expected one kind",
        ),
        (
            [options.servers("ws://h"), options.tls(ca=__file__.replace("options", "x"))],
            {},
            f"cannot read TLS CA {__file__.replace('options', 'x')!r}: No such file or directory",
        ),
        (
            [options.servers("ws://h"), options.ssl_context(ssl.create_default_context())],
            {},
            "a ws:// server URL cannot use TLS: expected wss://",
        ),
        (
            [options.servers(5)],  # type: ignore[arg-type]  # the point of this test
            {},
            "invalid server URL of type 'int': expected a text",
        ),
        ([options.user_password("", "p")], {}, "invalid user '': expected a name"),
        ([options.token("")], {}, "invalid token: expected a text that is not empty"),
        (
            [options.creds_file("/none/me.creds")],
            {},
            "cannot read credentials file '/none/me.creds': No such file or directory",
        ),
        (
            [options.nkey_file("/none/me.nk")],
            {},
            "cannot read nkey file '/none/me.nk': No such file or directory",
        ),
        (
            [options.nkey_seed("SUA")],
            {},
            "invalid nkey seed: expected the seed of a user, starting with SU",
        ),
        (
            [options.nkey_seed(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_ACCOUNT).decode())],
            {},
            "invalid nkey seed: expected the seed of a user, starting with SU",
        ),
        (
            [options.jwt("eyJ", SEED)],
            {},
            "invalid user JWT: expected three parts joined by '.'",
        ),
        (
            [options.tls(ca="/none/ca.pem")],
            {},
            "cannot read TLS CA '/none/ca.pem': No such file or directory",
        ),
        (
            [options.tls(key=__file__)],
            {},
            f"TLS key {__file__!r} has no certificate: expected both",
        ),
        (
            [options.tls(ca=__file__)],
            {},
            f"cannot use TLS files {__file__!r}: "
            "expected PEM, and a key that fits the certificate and is not encrypted",
        ),
        (
            ["nats://host"],
            {},
            "invalid connect option of type 'str': "
            "expected a value of micro.options, such as options.servers(...)",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    given: list[Any], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(given, environ)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            options.tls,
            "no TLS file given: expected ca, cert or key; without them the system's CAs are used",
        ),
        (
            lambda: options.inbox_prefix("a.>"),
            "invalid inbox prefix 'a.>': expected a subject without wildcards",
        ),
        (
            lambda: options.reconnect(first_delay=0),
            "invalid reconnect delays 0 to 0.5: expected 0 < first_delay <= max_delay",
        ),
        (
            lambda: options.reconnect(factor=0.5),
            "invalid reconnect factor 0.5: expected 1 or more",
        ),
        (lambda: options.reconnect(jitter=2), "invalid reconnect jitter 2: expected 0 to 1"),
        (
            lambda: options.reconnect(max_attempts=0),
            "invalid reconnect attempts 0: expected 1 or more, or -1 for ever",
        ),
        (lambda: options.ping_interval(0), "invalid ping interval 0: expected more than 0"),
        (
            lambda: options.ping_interval(1, 0),
            "invalid number of outstanding pings 0: expected more than 0",
        ),
        (lambda: options.connect_timeout(-1), "invalid connect timeout -1: expected more than 0"),
    ],
)
def test_a_bad_value_is_refused_where_it_is_given(
    make: Callable[[], ConnectOption], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make()

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "invalid NATS context {path}: expected JSON, but "),
        ("[]", "invalid NATS context {path}: expected a JSON object"),
        ('{"url": 1}', "invalid NATS context {path}: expected 'url' to be a str"),
        ('{"tls_first": "yes"}', "invalid NATS context {path}: expected 'tls_first' to be a bool"),
        (
            '{"nsc": "nsc://o/a/u"}',
            "NATS context {path} uses 'nsc', which only the NATS CLI supports",
        ),
        ('{"user_jwt": "a.b.c"}', "the user JWT in the NATS context 'c' has no seed: expected"),
    ],
)
def test_a_context_that_cannot_be_followed_is_refused(
    config_home: Callable[..., dict[str, str]], tmp_path: Path, content: str, message: str
) -> None:
    environ = config_home(c={})
    path = tmp_path / "nats" / "context" / "c.json"
    path.write_text(content)

    with pytest.raises(ConfigError) as caught:
        resolve([options.context("c")], environ)

    assert str(caught.value).startswith(message.replace("{path}", repr(str(path))))


@pytest.mark.parametrize("name", ["prod", "../mine", ""])
def test_an_unknown_context_is_refused_with_those_that_exist(
    config_home: Callable[..., dict[str, str]], tmp_path: Path, name: str
) -> None:
    environ = config_home(mine={}, other={})

    with pytest.raises(ConfigError) as caught:
        resolve([options.context(name)], environ)

    folder = str(tmp_path / "nats" / "context")
    assert str(caught.value) == (
        f"unknown NATS context {name!r}: expected one of those in {folder!r} ('mine', 'other')"
    )


@pytest.mark.parametrize(
    ("package", "option", "message"),
    [
        (
            "nkeys",
            options.nkey_seed(SEED),
            "the nkey seed needs the package nkeys: pip install 'natsmicro[nkeys]'",
        ),
        (
            "aiohttp",
            options.servers("ws://h"),
            "WebSocket server URLs need the package aiohttp: pip install 'natsmicro[websocket]'",
        ),
    ],
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, option: ConnectOption, message: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(ConfigError) as caught:
        resolve([option], {})

    assert str(caught.value) == message


def test_web_socket_urls_keep_their_path(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("aiohttp")
    module.__spec__ = ModuleSpec("aiohttp", None)
    monkeypatch.setitem(sys.modules, "aiohttp", module)
    settings = resolve([options.servers("wss://u:p@h/nats")], {})

    assert settings.servers == ("wss://h/nats",)


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        options.user_password("u", SECRET),
        options.token(SECRET),
        options.servers(f"nats://u:{SECRET}@host"),
        options.servers(f"{SECRET}@host"),
        options.nkey_seed(SEED),
        options.jwt(JWT, SEED),
    ],
    ids=lambda option: option.kind,
)
def test_no_secret_shows_in_a_text(option: ConnectOption) -> None:
    settings = resolve([option], {})
    shown = [f(x) for f in (repr, str, "{!r:>9}".format) for x in (option, settings)]
    given = settings.keywords()
    shown += [repr(given), str(given), *map("{}".format, given.values())]

    for text in shown:
        assert SECRET not in text
        assert SEED not in text
        assert JWT not in text


@pytest.mark.parametrize("url", [f"http://u:{SECRET}@h", f"nats://u:{SECRET}@h:x", f"{SECRET}@"])
def test_no_secret_shows_in_an_error_about_a_url(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([options.servers(url)], {})

    assert SECRET not in str(caught.value)


PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49SECRETKEY\n-----END PRIVATE KEY-----\n"
LONG_JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJBQUFBQUEifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "secret", [SECRET, SEED, PEM, LONG_JWT, CREDS, f"{SEED}\n", f"a\0{SECRET}"]
)
@pytest.mark.parametrize(
    ("make", "environ"),
    [
        (options.servers, ""),
        (lambda secret: options.servers(f"nats://u:{secret}"), ""),
        (options.creds_file, ""),
        (options.nkey_file, ""),
        (lambda secret: options.tls(ca=secret), ""),
        (lambda secret: options.tls(cert=secret, key=secret), ""),
        (lambda secret: options.jwt(JWT, secret), ""),
        (lambda secret: options.jwt(secret, SEED), ""),
        (None, "NATS_URL"),
        (None, "NATS_CREDS"),
        (None, "NATS_NKEY"),
        (None, "NATS_CA"),
        (None, "NATS_CERT"),
        (None, "NATS_TOKEN_FILE"),
    ],
)
def test_a_secret_in_place_of_a_path_or_url_is_shown_nowhere(
    secret: str, make: Any, environ: str
) -> None:
    given = [] if make is None else [make(secret)]
    try:
        shown = repr(resolve(given, {environ: secret} if environ else {}))
    except ConfigError as error:
        shown = str(error)
    if secret == SECRET and (make is options.servers or environ == "NATS_URL"):
        return  # it is a host name, as far as anybody can tell
    for part in (SECRET, SEED[:12], "SECRETKEY", LONG_JWT[:20]):
        assert part not in shown


# --- reconnect policy ---------------------------------------------------------------------------


def pool(**counters: int) -> list[Server]:
    return [Server(urlparse(f"nats://{host}:4222"), count) for host, count in counters.items()]


def test_delays_double_up_to_the_cap_and_start_anew_after_success() -> None:
    choose = ReconnectHandler(Backoff(jitter=0))
    delays = [choose(pool(a=failures), {})[1] for failures in range(9)]
    delays.append(choose(pool(a=0), {})[1])

    assert delays == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5, 0.01]


def test_a_round_tries_every_server_once_and_only_its_first_attempt_waits() -> None:
    choose = ReconnectHandler(Backoff(jitter=0))
    counters = dict.fromkeys("abc", 0)
    seen = []
    for _ in range(6):
        server, delay = choose(pool(**counters), {})
        assert server is not None
        host = str(server.uri.hostname)
        counters[host] += 1
        seen.append((host, delay))

    assert seen == [("a", 0.01), ("b", 0), ("c", 0), ("a", 0.02), ("b", 0), ("c", 0)]


def test_the_server_that_was_lost_is_tried_last() -> None:
    choose = ReconnectHandler(Backoff(jitter=0))
    choose.used("b:4222")
    server, _ = choose(pool(b=1, a=1), {})

    assert server is not None
    assert server.uri.hostname == "a"


def test_jitter_only_shortens_a_delay() -> None:
    backoff = Backoff(first_delay=0.1, jitter=0.5, max_delay=10)
    delays = [backoff.delay(1) for _ in range(1000)]

    assert 0.1 <= min(delays) < 0.12
    assert 0.18 < max(delays) <= 0.2


def test_a_delay_stays_at_the_cap_for_ever() -> None:
    assert Backoff(jitter=0).delay(10**9) == 0.5


def test_two_clients_of_one_setting_count_apart() -> None:
    settings = resolve([options.reconnect(jitter=0)], {})
    first = settings.keywords()["reconnect_to_server_handler"]
    second = settings.keywords()["reconnect_to_server_handler"]
    first(pool(a=0), {})

    assert first(pool(a=1), {})[1] == 0.02
    assert second(pool(a=0), {})[1] == 0.01
