"""Check the perturbation features of a run and write them in canonical form.

Example: python -m workflow_scripts.validate_features --settings results/demo/stages/features.json
--groups cache/cells/…/groups.parquet --cells-audit cache/cells/…/cells_audit.json
--features features.safetensors --audit features_audit.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.command import run_command
from workflow_scripts.features.validation import (
    Embedded,
    FeatureSettings,
    validate_features,
    write_features,
)
from workflow_scripts.settings.findings import from_dicts, render
from workflow_scripts.settings.finished import replacing, write_atomically
from workflow_scripts.settings.slices import read_settings


def main(arguments: Sequence[str]) -> None:
    """Read the feature file and the perturbations there are; write vectors and audit."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow_scripts.validate_features", description=__doc__
    )
    parser.add_argument("--settings", type=Path, required=True, help="stage file of features")
    parser.add_argument("--groups", type=Path, required=True, help="groups of cells (Parquet)")
    parser.add_argument("--cells-audit", type=Path, required=True, help="audit of the cells")
    parser.add_argument("--embedded", type=Path, help="what embed_proteins computed, if it did")
    parser.add_argument("--features", type=Path, required=True, help="vectors to write")
    parser.add_argument("--audit", type=Path, required=True, help="audit to write (JSON)")
    given = parser.parse_args(arguments)

    groups = pd.read_parquet(given.groups)
    control = json.loads(given.cells_audit.read_text())["control"]
    settings = FeatureSettings.from_slice(read_settings("features", given.settings))
    audit = validate_features(
        groups, control, settings, None if given.embedded is None else Embedded.read(given.embedded)
    )
    with replacing(given.features) as beside:
        write_features(audit.features, beside)
    write_atomically(given.audit, json.dumps(audit.report, indent=1) + "\n")
    print(
        f"features: {audit.report['n_vectors']} vectors of {audit.report['dimension']}",
        render(from_dicts(audit.report["findings"])),
        sep="\n",
    )


if __name__ == "__main__":
    run_command(main)
