"""Adapters for libraries: codecs, and resources of handlers."""
