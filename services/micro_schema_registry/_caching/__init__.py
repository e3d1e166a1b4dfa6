"""Caches of immutable values, and one fetch for many callers."""
