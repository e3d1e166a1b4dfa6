"""Credentials are taken out of URLs and of texts."""

import httpx
import pytest

from micro_http import hide_credentials, split_credentials


@pytest.mark.parametrize(
    ("url", "rest", "credentials"),
    [
        ("http://a.test/x?y=1", "http://a.test/x?y=1", None),
        ("http://me:pass@a.test:8080/x", "http://a.test:8080/x", ("me", "pass")),
        ("http://me@a.test/", "http://a.test/", ("me", "")),
        ("http://:pass@a.test/", "http://a.test/", ("", "pass")),
        ("http://me:p%40%2Fss@[::1]:8080/", "http://[::1]:8080/", ("me", "p@/ss")),
        ("/path@x", "/path@x", None),
        ("", "", None),
    ],
)
def test_a_url_is_split(url: str, rest: str, credentials: tuple[str, str] | None) -> None:
    assert split_credentials(url) == (httpx.URL(rest), credentials)
    assert split_credentials(httpx.URL(url)) == (httpx.URL(rest), credentials)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no URL: me@a.test", "no URL: me@a.test"),
        ("GET http://me:pass@a.test/x failed", "GET http://***@a.test/x failed"),
        ("'http://me:pass@a.test'", "'http://***@a.test'"),
        ("http://token@a.test", "http://***@a.test"),
        ("http://me:p/a?s#s@a.test/x", "http://***@a.test/x"),
        ("http://me:p@ss@a.test/x", "http://***@a.test/x"),
        ("http://a.test/x@y", "http://a.test/x@y"),
        ("socks5://a:b@c and http://d:e@f", "socks5://***@c and http://***@f"),
    ],
)
def test_credentials_in_a_text_are_hidden(text: str, hidden: str) -> None:
    assert hide_credentials(text) == hidden


def test_a_url_that_cannot_be_read_is_refused_without_its_password() -> None:
    with pytest.raises(httpx.InvalidURL) as refused:
        split_credentials("http://me:pa/ss@a.test")

    assert str(refused.value) == "invalid URL 'http://***@a.test'"
