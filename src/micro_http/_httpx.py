"""The one place that imports httpx and httpcore, and what both agree on: error classes and the TLS context."""

import os
import ssl
from functools import cache

import httpcore as httpcore
import httpx as httpx

# httpx wraps httpcore's errors in classes of its own and neither is a subclass of the other, so both are named.
CONNECT_ERRORS: tuple[type[Exception], ...] = (httpx.ConnectError, httpcore.ConnectError)
TIMEOUT_ERRORS: tuple[type[Exception], ...] = (
    httpx.TimeoutException,
    httpcore.TimeoutException,
    TimeoutError,
)
# After these no byte of the request has left, so sending it again can't do anything twice.
UNSENT_ERRORS: tuple[type[Exception], ...] = (
    *CONNECT_ERRORS,
    httpx.ConnectTimeout,
    httpcore.ConnectTimeout,
    httpx.PoolTimeout,
    httpcore.PoolTimeout,
)
TRANSPORT_ERRORS: tuple[type[Exception], ...] = (
    httpx.TransportError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ProxyError,
)


def shared_ssl_context() -> ssl.SSLContext:
    """Return the process-wide verifying TLS context, made on first use.

    Loading the CA bundle is nearly all the cost of `httpx.AsyncClient()`, and the context is safe to share between
    clients and threads. Don't change it; pass your own as `verify=` instead. `SSL_CERT_FILE` and `SSL_CERT_DIR` are
    honoured as httpx honours them.
    """
    return _ssl_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _ssl_context(_cert_file: str | None, _cert_dir: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
