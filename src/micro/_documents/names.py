"""Names in generated code."""

from __future__ import annotations

import builtins
import keyword
import re

from pydantic import BaseModel

_RESERVED = {*dir(builtins), *dir(BaseModel), *dir(type(BaseModel)), "self"}


def identifier(text: str) -> str:
    """Return an identifier for any text; an identifier stays as it is."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII).lstrip("_") or "value"
    if name[0].isdigit():
        name = f"value_{name}"
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name


def class_name(text: str) -> str:
    """Return a name for a class: `order-desk` becomes `OrderDesk`."""
    if re.fullmatch(r"[A-Z]\w*", text, re.ASCII) and not keyword.iskeyword(text):
        return f"{text}_" if text in dir(builtins) else text
    words = re.split(r"[\W_]+", text, flags=re.ASCII)
    name = "".join(word[:1].upper() + word[1:] for word in words) or "Value"
    name = f"Value{name}" if name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) or name in dir(builtins) else name


def field_name(text: str, taken: set[str]) -> str:
    """Return a name for a field that hides no other name; `taken` has names of classes."""
    name = identifier(text)
    if name.startswith("model_"):  # pydantic warns of such names
        name = f"field_{name}"
    while name in _RESERVED or name in taken:
        name += "_"
    return name


def unique(name: str, taken: set[str]) -> str:
    """Return a name that is not taken yet, with a number at its end if need be."""
    chosen, number = name, 2
    while chosen in taken:
        chosen, number = f"{name}{number}", number + 1
    taken.add(chosen)
    return chosen
