"""A page that shows every service on a NATS server, and asks them (extra "dashboard").

``micro dashboard`` serves it. It knows what PING, INFO and STATS tell, so services in any language
appear, and it works without the internet.
"""

from __future__ import annotations

from micro.dashboard._serve import serve

__all__ = ["serve"]
