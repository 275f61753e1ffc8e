r"""Put a file that was fetched from its address in its place, if it is the one that was meant.

Example:

    python -m workflow_scripts.fetch_cells \
        --address 'https://example.org/screen.h5ad#sha256=9f86d0…' \
        --fetched download/screen.h5ad --out screen.h5ad
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.cache.writing import link
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError, DataError

SHA256 = "sha256="


def main(arguments: Sequence[str]) -> None:
    """Hold the file to the SHA-256 of its address, where that names one, and link it."""
    parser = command_parser("python -m workflow_scripts.fetch_cells", __doc__)
    parser.add_argument(
        "--address",
        required=True,
        help="where it came from; #sha256=… behind it is the SHA-256 that it must have",
    )
    parser.add_argument("--fetched", type=Path, required=True, help="file that came from there")
    parser.add_argument(
        "--out", type=Path, required=True, help="its place; a hard link where that can be"
    )
    given = parser.parse_args(arguments)
    address, _, fragment = given.address.partition("#")
    if fragment and not fragment.startswith(SHA256):
        raise ConfigError(f"{given.address}: after # stands {fragment}; it takes {SHA256}…")
    digest = file_digest(given.fetched)
    wanted = fragment.removeprefix(SHA256).lower()
    if wanted and digest != wanted:
        raise DataError(
            f"{address}: what was fetched has the SHA-256 {digest}, and {wanted} was asked for; it "
            "is another file now, or was cut short"
        )
    link(given.fetched, given.out)
    print(f"{address}: {given.out.stat().st_size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    run_command(main)
