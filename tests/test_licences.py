"""The licences of everything that an installation with all extras brings along."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).parents[1] / "docs/licences.md"
EXTRAS = ("", "all", "fastapi")

ALLOWED = re.compile(r"Apache|MIT|BSD|PSF|Python Software Foundation|ISC|Mozilla Public License 2")
REFUSED = re.compile(r"GPL|AGPL|Proprietary|Commercial")


def dependencies() -> dict[str, Distribution]:
    """Return the installed distributions that natsmicro needs, directly or not, by name."""
    wanted = [("natsmicro", extra) for extra in EXTRAS]
    seen: set[tuple[str, str]] = set()
    found: dict[str, Distribution] = {}
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of another system or Python
            continue
        found[re.sub(r"[-_.]+", "-", name).lower()] = package
        for line in package.requires or ():
            required = Requirement(line)
            if required.marker is None or required.marker.evaluate({"extra": extra}):
                wanted += [(required.name, each) for each in ("", *required.extras)]
    del found["natsmicro"]
    return found


def licence(package: Distribution) -> str:
    """Return the licence as its metadata have it: an expression, classifiers, or a text."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    names = [
        line.rpartition("::")[2].strip()
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    if names:
        return ", ".join(names)
    return metadata["License"].splitlines()[0] if "License" in metadata else "unknown"


def test_every_licence_is_allowed() -> None:
    licences = {name: licence(package) for name, package in dependencies().items()}

    assert len(licences) > 40
    unfit = {n: t for n, t in licences.items() if not ALLOWED.search(t) or REFUSED.search(t)}
    assert unfit == {}


def test_the_page_lists_every_direct_dependency() -> None:
    """Others come and go with the versions of these, and are only checked."""
    listed = set(re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), re.MULTILINE))
    direct = {Requirement(line).name for line in distribution("natsmicro").requires or ()}

    assert (direct - {"natsmicro", "natsmicro-native"}) - listed == set()
