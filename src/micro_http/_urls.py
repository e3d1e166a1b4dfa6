"""URLs without the user and password that they may carry.

httpx logs the URL of each request with its password, and an error message repeats a URL. So a URL
is split when it is taken: the client keeps the URL without its credentials and sends these as
Basic authentication. Other packages use the same two functions for their URLs.
"""

import re

from micro_http._httpx import httpx

# A password that is not percent-encoded may hold any character, so the second form goes on to the
# last "@"; it may also hide a host with a port whose path has an "@".
_CREDENTIALS = re.compile(r"(?<=://)(?:[^/?#\s'\"]*|[^\s'\"@]*:[^\s'\"]*)@")


def split_credentials(url: httpx.URL | str) -> tuple[httpx.URL, tuple[str, str] | None]:
    """Return a URL without its credentials, and user and password if it has any.

    Use the pair as `auth=` of a request or client. The password is percent-decoded.

    Raises:
        httpx.InvalidURL: The text is no URL; its message names no credentials.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        if "@" not in str(url):
            raise
        raise httpx.InvalidURL(f"invalid URL {hide_credentials(str(url))!r}") from None
    if not parsed.userinfo:
        return parsed, None
    return parsed.copy_with(userinfo=b""), (parsed.username, parsed.password)


def hide_credentials(text: str) -> str:
    """Return a text in which `***` stands for the credentials of each URL."""
    return _CREDENTIALS.sub("***@", text)
