"""A web page that shows and calls the services on a NATS server (extra "dashboard").

`micro dashboard` serves it. It is built from PING, INFO and STATS, so services in any language
appear, and it works without the internet.
"""

from __future__ import annotations

from micro.dashboard._serve import serve

__all__ = ["serve"]
