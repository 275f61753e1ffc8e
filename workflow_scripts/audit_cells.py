r"""Look at the h5ad files of a run: columns, labels, genes, a sample of the values.

Problems are recorded, not raised: `preflight` shows those of all audits together.

Example, with the settings that `snakemake --printshellcmds` shows:

    python -m workflow_scripts.audit_cells \
        --settings '{"identity": {…}, "extent": {…}, "datasets": {"screen": {…}}}' \
        --groups groups.parquet --batches batches.parquet --twins twins.parquet \
        --genes genes.txt --audit cells_audit.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.writing import publish_text, publishing
from workflow_scripts.command import command_parser, json_with, run_command
from workflow_scripts.settings.findings import from_dicts, render


def main(arguments: Sequence[str]) -> None:
    """Read obs, var and some rows of every file; write the groups of cells and the audit."""
    parser = command_parser("python -m workflow_scripts.audit_cells", __doc__)
    parser.add_argument(
        "--settings",
        type=json_with("identity", "extent", "datasets"),
        required=True,
        metavar="JSON",
        help="files of the cells, and how to read them",
    )
    parser.add_argument(
        "--groups", type=Path, required=True, help="groups of cells, to write (Parquet)"
    )
    parser.add_argument(
        "--batches", type=Path, required=True, help="groups by technical batch, to write (Parquet)"
    )
    parser.add_argument("--twins", type=Path, required=True, help="equal cells, to write (Parquet)")
    parser.add_argument("--genes", type=Path, required=True, help="names of genes, to write (text)")
    parser.add_argument("--audit", type=Path, required=True, help="what was found, to write (JSON)")
    given = parser.parse_args(arguments)
    # Only now: --help and mistyped options needn't wait for these.
    from workflow_scripts.cells.audit import audit_slice

    audit = audit_slice(given.settings)
    for name in ("groups", "batches", "twins"):
        with publishing(getattr(given, name)) as beside:
            getattr(audit, name).to_parquet(beside, index=False)
    publish_text(given.genes, "".join(f"{gene}\n" for gene in audit.genes))
    publish_text(given.audit, json.dumps(audit.report, indent=1) + "\n")
    print(
        f"cells: {audit.report['n_cells']} in {len(audit.report['contexts'])} contexts",
        render(from_dicts(audit.report["findings"])),
        sep="\n",
    )


if __name__ == "__main__":
    run_command(main)
