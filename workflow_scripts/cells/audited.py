"""What the audits of a run wrote; light until a table is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AuditFiles:
    """What the audits of a run wrote.

    Attributes
    ----------
    cells_audit
        Audit of the cells (JSON).
    batches
        Groups of cells by technical batch (Parquet).
    all_genes
        Genes of the cells (text).
    splits_audit
        Audit of the splits (JSON).
    splits
        Split of each group (Parquet).
    features_audit
        Audit of the features (JSON).
    targets_audit
        Audit of what is predicted in place of the test split (JSON).
    target_features_audit
        Audit of its features (JSON).
    asked_cells_audit
        Audit of the cells that are predicted from (JSON), if they are others.
    asked_batches
        Their groups by technical batch (Parquet).
    """

    cells_audit: Path
    batches: Path
    all_genes: Path
    splits_audit: Path
    splits: Path
    features_audit: Path
    targets_audit: Path | None
    target_features_audit: Path | None
    asked_cells_audit: Path | None
    asked_batches: Path | None

    @cached_property
    def of_cells(self) -> Mapping[str, Any]:
        """The audit of the cells."""
        return read_audit(self.cells_audit)

    @cached_property
    def of_features(self) -> Mapping[str, Any]:
        """The audit of the features."""
        return read_audit(self.features_audit)

    @cached_property
    def groups(self) -> pd.DataFrame:
        """One row a group of cells, with its split."""
        return _read_table(self.splits)

    @cached_property
    def groups_by_batch(self) -> pd.DataFrame:
        """The same cells by technical batch."""
        return _read_table(self.batches)

    @cached_property
    def genes(self) -> list[str]:
        """Names of all genes of the cells."""
        return self.all_genes.read_text(encoding="utf-8").splitlines()


def read_audit(path: Path) -> dict[str, Any]:
    """Return what an audit wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def values_of(audit: Mapping[str, Any]) -> set[str | None]:
    """Return what the files of audited cells hold: counts, log1p; None where it isn't known."""
    return {file["values"] for files in audit["datasets"].values() for file in files}


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(path)
