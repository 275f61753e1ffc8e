r"""Check the perturbation features of a run and write them in canonical form.

By hand, on any feature file, with keys of the config where they differ from its defaults; the
perturbations are those of the file, or of the cells that data.kwargs.toml_config_path or
cells.datasets names.

Example:

    python -m workflow_scripts.validate_features ESM2_pert_features.pt \
        data.kwargs.toml_config_path=starter.toml data.kwargs.pert_col=target_gene

In a workflow, problems are recorded and not raised: `preflight` shows those of all audits together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workflow_scripts.cache.writing import publish_text, publishing
from workflow_scripts.cells.run_cells import cells_json
from workflow_scripts.command import BY_HAND, command_parser, run_command, show_findings
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import from_dicts, has_errors
from workflow_scripts.settings.runs import resolve_by_hand
from workflow_scripts.settings.slices import read_settings


def main(arguments: Sequence[str]) -> None:
    """Read the feature file and the perturbations there are; write vectors and audit."""
    parser = command_parser("python -m workflow_scripts.validate_features", __doc__)
    hand = parser.add_argument_group("by hand")
    hand.add_argument("file", nargs="?", metavar="FEATURE_FILE", help="in any of the formats")
    hand.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="key=value, for keys of the config"
    )
    workflow = parser.add_argument_group("in a workflow, all but --embedded and --one-hot-of")
    workflow.add_argument("--settings", type=Path, help="stage file of features")
    workflow.add_argument("--groups", type=Path, help="groups of cells (Parquet)")
    workflow.add_argument("--cells-audit", type=Path, help="audit of the cells (JSON)")
    workflow.add_argument(
        "--embedded", type=Path, help="what embed_proteins computed (safetensors), if it did"
    )
    workflow.add_argument(
        "--one-hot-of",
        type=Path,
        help="vectors of the run (safetensors), so that those of other perturbations go with them",
    )
    workflow.add_argument("--features", type=Path, help="vectors to write (safetensors)")
    workflow.add_argument("--audit", type=Path, help="what was found, to write (JSON)")
    given = parser.parse_args(arguments)
    if given.file is not None:
        _by_hand(given.file, given.overrides)
        return
    needed = ("settings", "groups", "cells_audit", "features", "audit")
    if any(getattr(given, name) is None for name in needed):
        parser.error("name a feature file, or give all the options of a workflow")
    # Only now: --help and mistyped options needn't wait for these.
    import pandas as pd

    from workflow_scripts.features.validation import Embedded, FeatureSettings, validate_features
    from workflow_scripts.features.vectors import load_features, write_features

    groups = pd.read_parquet(given.groups)
    control = json.loads(given.cells_audit.read_text())["control"]
    settings = FeatureSettings.from_slice(read_settings(given.settings))
    embedded = None if given.embedded is None else Embedded.read(given.embedded)
    one_hot = None
    if given.one_hot_of is not None and not settings.sources and embedded is None:
        one_hot = load_features(given.one_hot_of)
    audit = validate_features(groups, control, settings, embedded, one_hot)
    with publishing(given.features) as beside:
        write_features(audit.features, beside)
    publish_text(given.audit, json.dumps(audit.report, indent=1) + "\n")
    print(f"features: {audit.report['n_vectors']} vectors of {audit.report['dimension']}")
    show_findings(from_dicts(audit.report["findings"]))


def _by_hand(file: str, overrides: Sequence[str]) -> None:
    import pandas as pd

    from workflow_scripts.cells.audit import audit_slice
    from workflow_scripts.features.reading import read_entries
    from workflow_scripts.features.validation import FeatureSettings, validate_features

    named = f"data.kwargs.perturbation_features_file={json.dumps(file)}"
    run = resolve_by_hand(BY_HAND, [named, *overrides])
    cells = json.loads(cells_json(run))
    control = run.config["data"]["kwargs"]["control_pert"]
    settings = FeatureSettings.from_slice(run.slice("features"))
    if cells["datasets"] or "unreadable" in cells:
        found = audit_slice(cells)
        groups, findings = found.groups, from_dicts(found.report["findings"])
    else:
        names = [str(name) for name, _ in read_entries(Path(file))]
        groups = pd.DataFrame({"perturbation": names, "context": "the file", "n_cells": 0})
        findings = []
        if control not in names:  # only a screen could tell what its control is called
            settings = replace(settings, policies=replace(settings.policies, control="zeros"))
    report = validate_features(groups, control, settings).report
    findings += from_dicts(report["findings"])
    _describe(report)
    show_findings(findings)
    if has_errors(findings):
        raise DataError(f"{file}: a run would be stopped before training")


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
    run_command(main)
