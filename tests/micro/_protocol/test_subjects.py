"""The rules of names, subjects, versions, queue groups and metadata."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro import ConfigError
from micro._protocol import subjects

SEMVER = re.compile(  # as nats.go has it, with \Z for $ and [0-9] for \d
    r"\A(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?\Z"
)


@pytest.mark.parametrize("name", ["a", "A-b_9", "0", "-", "_", "x" * 200])
def test_good_name(name: str) -> None:
    assert subjects.check_name("service", name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a.b", "a\n", "\na", "é", "٣", "a*", ">", "$a", "a/b", None, 7, b"a"]
)
def test_bad_name(name: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        subjects.check_name("service", name)
    expected = f"invalid service name {name!r}: expected letters, digits, '-' or '_'"
    assert str(caught.value) == expected


@given(st.text())
def test_name_is_accepted_exactly_when_nats_go_accepts_it(name: str) -> None:
    good = re.match(r"\A[A-Za-z0-9\-_]+\Z", name) is not None
    assert accepts(subjects.check_name, "service", name) is good


@pytest.mark.parametrize(
    "version",
    [
        "0.0.0",
        "1.2.3",
        "10.20.30",
        "1.0.0-rc.1",
        "1.0.0-0a",
        "1.0.0-a.b-c.0",
        "1.0.0+7",
        "1.0.0-x+y.007",
    ],
)
def test_good_version(version: str) -> None:
    assert subjects.check_version(version) == version


@pytest.mark.parametrize(
    "version",
    [
        "",
        "1",
        "1.0",
        "v1.0.0",
        "1.0.0\n",
        "01.0.0",
        "1.0.0-",
        "1.0.0-01",
        "1.0.0+",
        "1.0.0-a..b",
        "\u0661.0.0",
        None,
        1.0,
    ],
)
def test_bad_version(version: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        subjects.check_version(version)
    expected = f"invalid version {version!r}: expected a semantic version such as '1.0.0'"
    assert str(caught.value) == expected


@given(st.from_regex(SEMVER) | st.text(alphabet="0123456789.-+aZ\n", max_size=14))
def test_version_is_accepted_exactly_when_semver_is(version: str) -> None:
    assert accepts(subjects.check_version, version) is (SEMVER.match(version) is not None)


@pytest.mark.parametrize("subject", ["a", "a.b.c", "ünï", "a-b_c", "a$b", "a.$b", "_INBOX.x"])
def test_good_subject(subject: str) -> None:
    assert subjects.check_subject(subject) == subject


EMPTY = "expected tokens separated by dots"
SHAPE = (
    "expected tokens separated by dots, without white space, "
    "'*' and '>' only as whole tokens, '>' last"
)
WILDCARD = "wildcards need allow_wildcards=True"
DOLLAR = "'$' subjects are the server's and need allow_wildcards=True"


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("", EMPTY),
        (None, EMPTY),
        (7, EMPTY),
        (".", SHAPE),
        ("a.", SHAPE),
        (".a", SHAPE),
        ("a..b", SHAPE),
        ("a b", SHAPE),
        ("a\n", SHAPE),
        ("a\tb", SHAPE),
        ("a\u00a0b", SHAPE),
        ("a*", SHAPE),
        ("a.>.b", SHAPE),
        ("a.b>", SHAPE),
        ("a.\ud800", SHAPE),
        ("*", WILDCARD),
        ("*.b", WILDCARD),
        ("a.>", WILDCARD),
        ("$SRV.PING", DOLLAR),
        ("$", DOLLAR),
    ],
)
def test_bad_subject(subject: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        subjects.check_subject(subject)
    assert str(caught.value) == f"invalid subject {subject!r}: {expected}"


@pytest.mark.parametrize("subject", ["a.*", "a.*.b", "a.*.*"])
def test_star_behind_the_first_token_needs_no_consent(subject: str) -> None:
    assert subjects.check_subject(subject) == subject


@pytest.mark.parametrize("subject", ["*", ">", "a.*.b", "a.>", "$SRV.PING", "a"])
def test_wildcards_and_dollar_are_an_explicit_choice(subject: str) -> None:
    assert subjects.check_subject(subject, allow_wildcards=True) == subject


@pytest.mark.parametrize("subject", ["a*", "a.>.b", "a ", "a..b", ">.a"])
def test_malformed_subject_is_refused_with_wildcards_allowed(subject: str) -> None:
    with pytest.raises(ConfigError, match="only as whole tokens"):
        subjects.check_subject(subject, allow_wildcards=True)


@given(st.text(alphabet="ab.*> \n$", max_size=8), st.booleans())
def test_accepted_subject_has_no_empty_token_or_white_space(subject: str, wild: bool) -> None:
    if accepts(subjects.check_subject, subject, allow_wildcards=wild):
        assert all(subject.split("."))
        assert not set(subject) & set(" \n")
        assert wild or not set(subject) & set("*>")


@pytest.mark.parametrize("prefix", ["a", "a.b", "$SRV"])
def test_good_prefix(prefix: str) -> None:
    assert subjects.check_prefix("group name", prefix) == prefix


@pytest.mark.parametrize("prefix", ["", "a.", "a b", "a.*", "a.>", "a\n", "\ud800", None, 7])
def test_bad_prefix(prefix: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        subjects.check_prefix("group name", prefix)
    assert str(caught.value) == (
        f"invalid group name {prefix!r}: expected tokens separated by dots, without wildcards"
    )


def test_queue_group_may_be_empty_for_none() -> None:
    assert subjects.check_queue_group("") == ""
    assert subjects.check_queue_group("workers.eu") == "workers.eu"


@pytest.mark.parametrize("group", ["a b", "a\n", "*", None, 7])
def test_bad_queue_group(group: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        subjects.check_queue_group(group)
    assert str(caught.value) == (
        f"invalid queue group {group!r}: expected tokens separated by dots, without wildcards"
    )


def test_metadata_is_copied() -> None:
    given_metadata = {"a": "1"}
    checked = subjects.check_metadata(given_metadata)
    given_metadata["a"] = "2"
    assert checked == {"a": "1"}
    assert subjects.check_metadata(None) == {}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": 1}, "invalid metadata entry 'a': expected strings only"),
        ({"a": None}, "invalid metadata entry 'a': expected strings only"),
        ({1: "a"}, "invalid metadata entry 1: expected strings only"),
        ({"": "a"}, "invalid metadata key '': expected a name that does not begin with '_nats'"),
        (
            {"_nats.x": "a"},
            "invalid metadata key '_nats.x': expected a name that does not begin with '_nats'",
        ),
        (
            {"a": "é" * 65536},
            "metadata of 131073 bytes is too large: expected at most 131072",
        ),
    ],
)
def test_bad_metadata(metadata: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        subjects.check_metadata(metadata)
    assert str(caught.value) == message


def test_metadata_of_exactly_the_limit_is_accepted() -> None:
    assert len(subjects.check_metadata({"a": "x" * 131071})["a"]) == 131071


def test_join_leaves_out_empty_parts() -> None:
    assert subjects.join("", "a", "", "b.c") == "a.b.c"
    assert subjects.join("", "") == ""


@pytest.mark.parametrize(
    ("name", "id", "expected"),
    [
        (None, None, "$SRV.PING"),
        ("echo", None, "$SRV.PING.echo"),
        ("echo", "x1", "$SRV.PING.echo.x1"),
        (None, "x1", "$SRV.PING"),
    ],
)
def test_control_subject(name: str | None, id: str | None, expected: str) -> None:
    assert subjects.control_subject("PING", "$SRV", name, id) == expected


def accepts(check: Any, *arguments: Any, **keywords: Any) -> bool:
    try:
        check(*arguments, **keywords)
    except ConfigError:
        return False
    return True
