"""The version of the distribution, kept once."""

__version__ = "0.1.0"
