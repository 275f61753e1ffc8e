"""Look at the h5ad files of a run: columns, labels, genes, a sample of the values."""

from __future__ import annotations

import json
from pathlib import Path

from workflow_scripts.command import run_command
from workflow_scripts.settings.findings import from_dicts, render
from workflow_scripts.stage import Output, stage


@stage("cells", kept=False)
def audit_cells(
    cell_files: Path,
    groups: Output,
    batches: Output,
    twins: Output,
    genes: Output,
    audit: Output,
) -> None:
    """Look at the h5ad files of a run: columns, labels, genes, a sample of the values.

    What is wrong is recorded, not raised: preflight reports it together with everything else.

    Parameters
    ----------
    cell_files
        Files of the cells, and how to read them (JSON).
    groups
        Groups of cells, to write (Parquet).
    batches
        Groups of cells by technical batch, to write (Parquet).
    twins
        Cells that have the values of another one, to write (Parquet).
    genes
        Names of genes, to write (text).
    audit
        What was found, to write (JSON).
    """
    from workflow_scripts.cells.audit import audit_slice

    found = audit_slice(json.loads(cell_files.read_text()))
    found.groups.to_parquet(groups, index=False)
    found.batches.to_parquet(batches, index=False)
    found.twins.to_parquet(twins, index=False)
    genes.write_text("".join(f"{gene}\n" for gene in found.genes), encoding="utf-8")
    audit.write_text(json.dumps(found.report, indent=1) + "\n", encoding="utf-8")
    print(f"cells: {found.report['n_cells']} in {len(found.report['contexts'])} contexts")
    print(render(from_dicts(found.report["findings"])))


if __name__ == "__main__":
    run_command(audit_cells)
