"""A web page that shows and calls the services on a NATS server (extra "dashboard").

`micro dashboard` serves it. It is built from PING, INFO and STATS, so services in any language
appear, and it works without the internet.
"""

from __future__ import annotations

from micro import _extras

try:
    from micro.dashboard._serve import serve
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
        raise
    raise _extras.missing(error, "micro.dashboard", "dashboard") from None

__all__ = ["serve"]
