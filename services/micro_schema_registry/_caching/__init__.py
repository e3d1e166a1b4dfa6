"""A cache of immutable values, and the sharing of one fetch by many callers."""
