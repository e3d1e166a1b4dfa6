"""Copies of examples in the documentation: `python .ci/samples.py` writes them, `--check` compares.

A block of code whose fence has `title="PATH"` is the whole file at that path of the repository.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^(```\w+ title="([^"]+)"\n).*?^(```)$', re.MULTILINE | re.DOTALL)


def with_samples(text: str) -> str:
    """Return a page with each titled block replaced by its file."""
    return BLOCK.sub(lambda block: f"{block[1]}{(ROOT / block[2]).read_text()}{block[3]}", text)


def main(check: bool) -> int:
    """Write the pages that differ, or name them; return the exit code."""
    differing = 0
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        wanted = with_samples(text)
        if wanted == text:
            continue
        differing += 1
        if check:
            sys.stdout.write(f"{page.relative_to(ROOT)} differs from its samples: make format\n")
        else:
            page.write_text(wanted)
    return int(check and differing > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
