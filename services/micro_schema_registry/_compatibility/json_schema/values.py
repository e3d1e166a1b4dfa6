"""JSON values as JSON Schema compares them, and regular expressions where the dialects agree."""

import math
import re
from collections.abc import Hashable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import jsonschema_rs

# The types of instances. `1.0` is an integer from draft 6 on only, hence a type of its own.
INTEGER, WHOLE, FRACTION = "integer", "integer written as 1.0", "number"
NUMBERS = frozenset({INTEGER, WHOLE, FRACTION})
TYPES = NUMBERS | {"null", "boolean", "string", "array", "object"}
# The keywords that limit numbers, and those that limit a length, by type.
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
COUNTS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}
KIND_OF = {keyword: kind for kind, pair in COUNTS.items() for keyword in pair}

# Constructs that ECMA-262 and Python read differently, or that one of them refuses.
_DIALECT = re.compile(
    r"\[\]|\[\^\]|\{,|[*+?}]\+|\(\?(?![:=!])|\\[^\\dDwWsSbBnrtfv./(){}\[\]*+?^$|@#%&,;:!=<>~'\"` -]"
)
_NAMED_REFERENCE = re.compile(r"\\k<(\w+)>")
_PLAIN_TEXT = re.compile(r"[ -~]*\Z")
_EVERYTHING = frozenset({"", "^", "$", ".*", "(.*)", "^(.*)"})


def canonical(value: Any) -> Hashable:
    """Return a key that is equal for equal JSON values: `1` equals `1.0` but not `true`."""
    if isinstance(value, bool) or value is None:
        return (type(value), value)
    if isinstance(value, int):
        return ("number", Fraction(value))
    if isinstance(value, float):
        return ("number", Fraction(repr(value)) if math.isfinite(value) else repr(value))
    if isinstance(value, list):
        return ("array", tuple(canonical(item) for item in value))
    if isinstance(value, dict):
        return ("object", frozenset((name, canonical(item)) for name, item in value.items()))
    return value  # type: ignore[no-any-return]  # only str is left


def types_of(value: Any) -> frozenset[str]:
    """Return the types that instances equal to a value may have."""
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, int | float):
        whole = math.isfinite(value) and value == int(value)
        return frozenset({INTEGER, WHOLE} if whole else {FRACTION})
    names = {"str": "string", "list": "array", "dict": "object"}
    return frozenset({names.get(type(value).__name__, "null")})


def exact(number: float) -> Fraction:
    """Return the number that a schema says, without binary rounding."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def surely_multiple(number: Fraction, factor: Fraction) -> bool:
    """Tell whether a number is a multiple of another, in decimal and in binary fractions."""
    ratio = number / factor
    if ratio.denominator != 1:
        return False
    power_of_two = ratio.numerator & (ratio.numerator - 1) == 0
    return factor.denominator == 1 or power_of_two or (_is_binary(number) and _is_binary(factor))


def _is_binary(number: Fraction) -> bool:
    return number.denominator & (number.denominator - 1) == 0


def matches_everything(pattern: str) -> bool:
    """Tell whether a pattern is known to match every string."""
    return pattern in _EVERYTHING


@lru_cache(maxsize=65536)
def matches(pattern: str, text: str) -> bool | None:
    """Return whether a pattern matches in a text; None where regex dialects may disagree."""
    if matches_everything(pattern):
        return True
    compiled = _compiled(pattern)
    if compiled is None or not _PLAIN_TEXT.match(text):
        return None
    return compiled.search(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    if _DIALECT.search(pattern) or not pattern.isascii():
        return None
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return None


def show(value: Any) -> str:
    """Return a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def is_pattern(text: str) -> bool:
    """Tell whether a text is a regular expression of ECMA-262, as far as the libraries know."""
    if _compiles(text) or _compiles(_NAMED_REFERENCE.sub(r"(?P=\1)", text.replace("(?<", "(?P<"))):
        return True
    try:
        jsonschema_rs.Draft202012Validator({"pattern": text})
    except ValueError:
        return False
    return True


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
