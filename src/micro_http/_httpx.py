"""The imports of httpx and httpcore, groups of their error classes, and the shared TLS context."""

import os
import ssl
from functools import cache

try:
    import httpcore as httpcore
    import httpx as httpx
except ModuleNotFoundError as error:
    reason = "micro_http needs the extra 'http': pip install 'natsmicro[http]'"
    raise ModuleNotFoundError(reason, name=error.name) from None

POOL_SIZE = 100  # the connections of a pool with the default limits of httpx
# httpx has its own error classes, unrelated to those of httpcore, so both are named.
CONNECT_ERRORS: tuple[type[Exception], ...] = (httpx.ConnectError, httpcore.ConnectError)
TIMEOUT_ERRORS: tuple[type[Exception], ...] = (
    httpx.TimeoutException,
    httpcore.TimeoutException,
    TimeoutError,
)
# No connection was free: the fault of the client, not of the server.
POOL_TIMEOUTS: tuple[type[Exception], ...] = (httpx.PoolTimeout, httpcore.PoolTimeout)
# No byte of the request was sent before these, so a retry cannot repeat its effect.
UNSENT_ERRORS: tuple[type[Exception], ...] = (
    *CONNECT_ERRORS,
    httpx.ConnectTimeout,
    httpcore.ConnectTimeout,
    *POOL_TIMEOUTS,
)
TRANSPORT_ERRORS: tuple[type[Exception], ...] = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ProxyError,
)


def shared_ssl_context() -> ssl.SSLContext:
    """Return the verifying TLS context of the process, made on first use.

    Loading the CA bundle is nearly all the cost of `httpx.AsyncClient()`. The context is safe to
    share between clients and threads. Don't change it; pass your own as `verify=` instead. It
    honours `SSL_CERT_FILE` and `SSL_CERT_DIR` as httpx does.
    """
    return _ssl_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _ssl_context(_cert_file: str | None, _cert_dir: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
