"""The reference of all keys, config/README.md, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from workflow_scripts.settings.compose import Composition, compose_traced
from workflow_scripts.settings.config_files import options_of
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.explain import meaning_of, range_of, type_of
from workflow_scripts.settings.references import is_interpolation
from workflow_scripts.settings.schema import KEYS, Key, Kind, leaves
from workflow_scripts.settings.schema.workflow_file import KEYS as WORKFLOW_KEYS
from workflow_scripts.settings.tables import Column, Table
from workflow_scripts.settings.trace import settings_of
from workflow_scripts.settings.yaml_files import read_yaml


@dataclass(frozen=True)
class ModelSize:
    """How large an option of the group ``model`` is.

    Attributes
    ----------
    total
        Trainable parameters.
    backbone
        Those of the backbone alone: the rest grows with genes and features.
    """

    total: int
    backbone: int


def reference(
    config_dir: Path, sizes: Mapping[str, ModelSize], *, n_genes: int, feature_dim: int
) -> str:
    """Write the reference of a config tree's files and keys.

    Parameters
    ----------
    config_dir
        The config tree, whose options give the defaults.
    sizes
        By option of the group ``model``.
    n_genes, feature_dim
        The data for which the sizes hold.
    """
    plain = compose_traced(config_dir, "config")
    groups = [group for group in plain.choices if options_of(config_dir, group)]
    parts = [_INTRODUCTION, "## Files\n", _files(config_dir, plain, groups)]
    parts += ["## What a change does\n", _CLASSES, "## Models\n"]
    parts.append(_models(config_dir, sizes, n_genes=n_genes, feature_dim=feature_dim))
    parts += ["## Of the run as a whole\n", *_section("", {"Default": plain})]
    for group in groups:
        options = {
            option: compose_traced(config_dir, "config", [], [f"{group}={option}"])
            for option in options_of(config_dir, group)
        }
        only = len(options) == 1
        named = {"Default" if only else f"`{name}`": found for name, found in options.items()}
        parts += [f"## `{group}`\n", *_section(f"{group}.", named)]
    parts += ["## `workflow.yaml`\n", _WORKFLOW, _workflow_keys(config_dir)]
    return "\n".join(parts)


_INTRODUCTION = """\
# Config: files and keys

*Written by `python -m workflow_scripts.document_config` out of
[the schema](../workflow_scripts/settings/schema/): change it there, and run that again.*

A run's config is put together in this order, each winning over those before it: the option files
that [config.yaml](config.yaml) names, config.yaml's own values, the run file, the overrides
(`--config overrides='training.lr=3e-4'`). [docs/config.md](../docs/config.md) has the rules.

- What a run changes, and where each value came from:
  `python -m workflow_scripts.explain_config trace demo`
- How two options differ: `python -m workflow_scripts.explain_config diff model pertsets state_sm`
- All about one key: `python -m workflow_scripts.explain_config key training.lr`

Editors that know YAML schemas complete and check these files as you type: the first lines name a
part of [schemas/run.schema.json](../schemas/run.schema.json). A run file of yours, wherever it is,
does the same with `# yaml-language-server: $schema=` and the path of that file.
"""

_CLASSES = """\
| Class | A change of such a key |
|-------|------------------------|
| identity | changes results: the stages that read it start afresh, and what follows them |
| extent | is how far and how often: training goes on from its last step |
| operational | changes no result: nothing runs again |
| inert | changes nothing: the key is accepted because files of this field carry it |
"""

_WORKFLOW = """\
What a bare `snakemake` does. Each key can be given on the command line instead, as in
`--config runs=demo`.
"""


def _files(config_dir: Path, plain: Composition, groups: list[str]) -> str:
    rows = []
    for group in (*groups, "runs"):
        for option in options_of(config_dir, group):
            chosen = group in plain.choices and plain.choices[group].option == option
            about = _first_paragraph(config_dir / group / f"{option}.yaml")
            link = f"[{group}/{option}.yaml]({group}/{option}.yaml)"
            rows.append((link, "yes" if chosen else "", about))
    heads = ("File", "Default", "What it holds")
    return _markdown(heads, rows)


def _first_paragraph(file: Path) -> str:
    """Give the first paragraph of a file's first comment, without what is for programs."""
    lines: list[str] = []
    for line in file.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        if not text and lines:
            break
        if not text.startswith(("@package", "yaml-language-server")):
            lines.append(text)
    return " ".join(lines)


def _models(
    config_dir: Path, sizes: Mapping[str, ModelSize], *, n_genes: int, feature_dim: int
) -> str:
    rows = []
    for option, size in sizes.items():
        values = compose_traced(config_dir, "config", [], [f"model={option}"]).values
        kwargs = values["model"]["kwargs"]
        backbone = kwargs["transformer_backbone_kwargs"]
        layers = backbone.get("num_hidden_layers", backbone.get("n_layer"))
        heads = backbone.get("num_attention_heads", backbone.get("n_head"))
        kind = kwargs["transformer_backbone_key"]
        facts = (kwargs["cell_set_len"], kwargs["hidden_dim"], layers, heads)
        counts = (f"{size.backbone:,}", f"{size.total:,}")
        rows.append((f"`{option}`", kind, *map(str, facts), *counts))
    heads_of_table = ("Option", "Backbone", "Cells a set", "Width", "Layers", "Heads")
    table = _markdown((*heads_of_table, "Parameters of the backbone", "Of the model"), rows)
    return (
        f"{table}\nOf the model: for {n_genes:,} genes and features of {feature_dim:,} numbers.\n"
    )


def _section(prefix: str, options: Mapping[str, Composition]) -> Iterator[str]:
    """Write the tables of a section: what is read, then what isn't."""
    keys = [key for key in KEYS if (key.path.startswith(prefix) if prefix else "." not in key.path)]
    read = [key for key in keys if key.kind is not Kind.INERT]
    inert = [key for key in keys if key.kind is Kind.INERT]
    if read:
        heads = ("Key", *options, "Type", "Range", "Meaning", "Class: read by")
        yield _markdown(
            heads,
            [
                (
                    f"`{key.path}`",
                    *(_default(key, option) for option in options.values()),
                    type_of(key).replace(" | ", " or "),
                    range_of(key) + (f" ({key.unit})" if key.unit else ""),
                    meaning_of(key, "en"),
                    f"{key.kind.value}: {', '.join(key.stages)}",
                )
                for key in read
            ],
        )
    if inert:
        yield "Accepted, and read by nothing:\n"
        yield _markdown(
            ("Key", *options, "Range", "Meaning elsewhere", "Why nothing reads it"),
            [
                (
                    f"`{key.path}`",
                    *(_default(key, option) for option in options.values()),
                    range_of(key) or "any value",
                    key.meaning,
                    key.reason,
                )
                for key in inert
            ],
        )


def _default(key: Key, composition: Composition) -> str:
    """Give what an option has at a key, an interpolation as it is written."""
    path = tuple(key.path.split("."))
    value = composition.values
    for part in path:
        if part not in value:
            return ""
        value = value[part]
    written = settings_of(composition, path)[-1].value
    return f"`{written if is_interpolation(written) else inline(value)}`"


def _workflow_keys(config_dir: Path) -> str:
    values = dict(leaves(cast(dict[str, Any], read_yaml(config_dir / "workflow.yaml").values)))
    rows = [
        (
            f"`{key.path}`",
            f"`{inline(values[key.path])}`",
            type_of(key).replace(" | ", " or "),
            key.meaning,
        )
        for key in WORKFLOW_KEYS
    ]
    return _markdown(("Key", "Default", "Type", "Meaning"), rows)


def _markdown(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Write a table without padding: a longer cell changes its own line alone."""
    text = Table(tuple(Column(head, head) for head in heads), tuple(rows)).render("markdown")
    return re.sub(r"-{3,}", "---", re.sub(r" +\|", " |", text))
