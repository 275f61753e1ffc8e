"""What the documents quote is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import create_functions

from tests.pages import quoted, section, table
from tests.snakemake_runs import snakemake
from workflow_scripts.cells.claims import claims
from workflow_scripts.cells.manifest import EMBEDDING, FILES
from workflow_scripts.cells.split_file import read_split_file
from workflow_scripts.cells.splits import SplitSettings, split_groups
from workflow_scripts.features.reading import FORMATS
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.training.metrics_file import COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, *ROOT.glob("*.md"), ROOT / "config" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_documents_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_both_readmes_have_the_same_commands_and_files():
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))

    def commands(page: str) -> list[str]:
        blocks = re.findall(r"```(?:bash|toml|yaml)\n(.*?)```", page, re.DOTALL)
        lines = [
            line.partition("  #")[0].rstrip() for block in blocks for line in block.split("\n")
        ]
        return [line.replace(" --lang zh", "") for line in lines]

    def left_by_a_run(page: str) -> list[str]:
        cells = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]

    assert commands(english) == commands(chinese)
    assert left_by_a_run(english) == left_by_a_run(chinese)
    assert english.count("\n## ") == chinese.count("\n## ")


def test_formats_of_features_are_those_that_are_read():
    assert [name for row in table("data.md", "Features") for name in quoted(row[0])] == [*FORMATS]


def test_files_of_packed_cells_are_those_of_a_store():
    listed = {name for row in table("data.md", "Packed cells") for name in quoted(row[0])}
    assert listed == {*FILES, EMBEDDING, "manifest.json"}


def test_columns_of_the_training_log_are_those_that_are_written():
    rows = table("training.md", "training.csv")
    assert [name for row in rows for name in quoted(row[0])] == [*COLUMNS]


CLAIMS = re.findall(
    r"^\*\*([\w ]+)\*\*:.*(?:\n.+)*\n\n```toml\n((?:.*\n)*?)```",
    section("splits.md", "What a score may claim"),
    re.MULTILINE,
)


@pytest.mark.parametrize(("claim", "toml"), CLAIMS, ids=[claim for claim, _ in CLAIMS])
def test_split_allows_the_claim_beside_it(claim: str, toml: str, tmp_path: Path):
    groups = pd.DataFrame(
        [
            ("screen", "screen.h5ad", context, name, name == "control", 10)
            for context in ("K562", "RPE1")
            for name in ("control", "GATA1", "TAL1", "KLF1", "LMO2")
        ],
        columns=["dataset", "file", "context", "perturbation", "is_control", "n_cells"],
    )
    path = tmp_path / "split.toml"
    path.write_text(toml)
    settings = SplitSettings("from_toml", 0.1, "error", 42)
    splits = split_groups(groups, read_split_file(path), settings)
    assert [one.message for one in splits.findings if one.severity == "error"] == []
    assert claims(splits.table)["kind"] == claim


def test_the_page_has_every_key_that_the_reference_composes():
    listed = {row[0].strip("`") for row in table("from_arc_state.md", "Keys")}
    assert listed >= {key for key in KEYS if key.startswith(("data.", "model.", "training."))}
    reference = ROOT.parent / "shared" / "reference_keys.json"
    if not reference.exists():
        pytest.skip("the reference's keys are not on this machine")
    theirs = {key for preset in json.loads(reference.read_text()).values() for key in preset}
    assert theirs <= listed


def test_functions_of_overrides_are_those_of_the_grammar():
    page = (ROOT / "docs" / "hydra.md").read_text()
    rows = [line for line in page.split("\n") if re.match(r"\| `\w+\(…\)`", line)]
    refused = {name for row in rows if "| refused" in row for name in re.findall(r"`(\w+)\(", row)}
    assert refused == {"interval", "shuffle"}
    named = {name for row in rows for name in re.findall(r"`(\w+)\(…", row)}
    assert named == {*create_functions().functions}


NOT_KEYS = ("model.outputs", "model.kwargs.transformer_backbone_")
"""A call of the model, and the beginning of two sections' names."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_that_pages_name_are_those_of_the_schema(page: Path):
    paths = set(KEYS)
    sections = {path[:at] for path in paths for at in range(len(path)) if path[at] == "."}
    first = "|".join(sorted(name for name in sections if "." not in name))
    spans = " ".join(re.findall(r"`([^`\n]+)`", page.read_text()))
    named = set(re.findall(rf"(?<![\w./])(?:{first})(?:\.\w+)+", spans))
    files = {
        name
        for name in named
        if re.search(r"\.(csv|html|json|parquet|safetensors|toml|tsv|txt)$", name)
    }
    assert named - files - paths - sections <= {*NOT_KEYS}


def reachable(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return all pairs of which the first leads to the second."""
    more = arrows | {(a, d) for a, b in arrows for c, d in arrows if b == c}
    return arrows if more == arrows else reachable(more)


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_graph_in_the_readmes_is_that_of_the_workflow(page: str, tmp_path: Path):
    text = snakemake(tmp_path, "--rulegraph").text
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', text))
    arrows = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", text)}
    drawn = set(re.findall(r"(\w+) --> (\w+)", (ROOT / page).read_text()))
    rules = {name for arrow in drawn for name in arrow}
    links = {"all", "freeze_cells", "freeze_config", "freeze_stage", "simulate_demo"}
    assert rules == {*names.values()} - links
    among = {arrow for arrow in reachable(arrows) if rules.issuperset(arrow)}
    assert reachable(drawn) == among
