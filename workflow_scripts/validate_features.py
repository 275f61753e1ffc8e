"""Check the perturbation features of a run, and write a vector for each perturbation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workflow_scripts.command import BY_HAND, run_command, show_findings
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import from_dicts, has_errors
from workflow_scripts.settings.slices import Slice
from workflow_scripts.stage import Output, stage


def by_hand(arguments: Sequence[str]) -> None:
    """By hand, on any feature file, with keys of the config that differ from its defaults.

    As in:

    python -m workflow_scripts.validate_features ESM2.pt data.kwargs.control_pert=control
    """
    import pandas as pd

    from workflow_scripts.cells.audit import audit_slice
    from workflow_scripts.cells.run_cells import cells_json
    from workflow_scripts.features import validation
    from workflow_scripts.features.reading import read_entries
    from workflow_scripts.settings.runs import resolve_by_hand

    file, *overrides = arguments
    named = f"data.kwargs.perturbation_features_file={json.dumps(file)}"
    run = resolve_by_hand(BY_HAND, [named, *overrides])
    cells = json.loads(cells_json(run))
    control = run.config["data"]["kwargs"]["control_pert"]
    settings = validation.FeatureSettings.from_slice(run.slice("features"))
    if cells["datasets"] or "unreadable" in cells:
        found = audit_slice(cells)
        groups, findings = found.groups, from_dicts(found.report["findings"])
    else:
        names = [str(name) for name, _ in read_entries(Path(file))]
        groups = pd.DataFrame({"perturbation": names, "context": "the file", "n_cells": 0})
        findings = []
        if control not in names:  # only a screen could tell what its control is called
            settings = replace(settings, policies=replace(settings.policies, control="zeros"))
    report = validation.validate_features(groups, control, settings).report
    findings += from_dicts(report["findings"])
    _describe(report)
    show_findings(findings)
    if has_errors(findings):
        raise DataError(f"{file}: a run would be stopped before training")


@stage("features", by_hand)
def validate_features(
    settings: Slice,
    groups: Path,
    cells_audit: Path,
    embedded: Path | None,
    one_hot_of: Path | None,
    features: Output,
    audit: Output,
) -> None:
    """Check the perturbation features of a run, and write a vector for each perturbation.

    What is wrong is recorded, not raised: preflight reports it together with everything else.

    Parameters
    ----------
    groups
        Groups of cells (Parquet).
    cells_audit
        Audit of the cells (JSON).
    embedded
        What embed_proteins computed (safetensors), if it did.
    one_hot_of
        Vectors of the run (safetensors): one-hot vectors of other perturbations match their width.
    features
        Vectors, to write (safetensors).
    audit
        What was found, to write (JSON).
    """
    import pandas as pd

    from workflow_scripts.features import validation
    from workflow_scripts.features.vectors import load_features, write_features

    control = json.loads(cells_audit.read_text())["control"]
    asked = validation.FeatureSettings.from_slice(settings)
    known = None if embedded is None else validation.Embedded.read(embedded)
    one_hot = None
    if one_hot_of is not None and not asked.sources and known is None:
        one_hot = load_features(one_hot_of)
    found = validation.validate_features(pd.read_parquet(groups), control, asked, known, one_hot)
    write_features(found.features, features)
    audit.write_text(json.dumps(found.report, indent=1) + "\n", encoding="utf-8")
    print(f"features: {found.report['n_vectors']} vectors of {found.report['dimension']}")
    show_findings(from_dicts(found.report["findings"]))


def _describe(report: Mapping[str, Any]) -> None:
    for file in report["files"]:
        print(
            f"{file['file']}: {file['n_vectors']} vectors of {file['dimension']} values, "
            f"{file['n_unused']} of them not asked for; SHA-256 {file['sha256']}"
        )
    for context, size in report["coverage"].items():
        print(
            f"{context}: {size['n_with_vector']} of {size['n_perturbations']} perturbations have "
            "a vector of their own"
        )
    if report["norms"]:
        norms = ", ".join(f"{name} {norm:.3g}" for name, norm in report["norms"].items())
        print(f"norms: {norms}")
    if report["spectrum"]:
        print(f"principal components for 95 % of variance: {report['spectrum']['n_components_95']}")


if __name__ == "__main__":
    run_command(validate_features)
