"""Print lines and files of each part of the package; fail above the ceiling of pyproject.toml.

python benchmarks/size.py
"""

from __future__ import annotations

import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def sizes() -> dict[str, tuple[int, int]]:
    """Return lines and files of the package's Python, by part."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for path in sorted((ROOT / "workflow_scripts").rglob("*.py")):
        part, *rest = path.relative_to(ROOT / "workflow_scripts").parts
        lines, files = found[part if rest else "scripts"]
        found[part if rest else "scripts"] = (
            lines + len(path.read_text("utf-8").splitlines()),
            files + 1,
        )
    return dict(found)


def main() -> None:
    """Print the table, and fail where the sum is above the ceiling."""
    found = sizes()
    total = tuple(map(sum, zip(*found.values(), strict=True)))
    for part, (lines, files) in [*found.items(), ("sum", total)]:
        print(f"{part:<12} {lines:>6,} lines {files:>4} files")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ceiling = project["tool"]["stateline"]["ceiling"]
    for what, size in zip(("lines", "files"), total, strict=True):
        if size > ceiling[what]:
            sys.exit(
                f"workflow_scripts has {size:,} {what}; the ceiling in pyproject.toml "
                f"(tool.stateline.ceiling) is {ceiling[what]:,}"
            )


if __name__ == "__main__":
    main()
