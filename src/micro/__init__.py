"""NATS micro-services for Python."""

from micro._version import __version__

__all__ = ["__version__"]
