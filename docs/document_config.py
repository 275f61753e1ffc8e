"""Write what is generated from the schema: config/README.md, schemas/, tables of the docs.

Example:

    python docs/document_config.py --check
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.editor_schema import editor_schema
from workflow_scripts.cache.writing import write_atomically
from workflow_scripts.command import command_parser, run_command
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.compose import Composition, compose, compose_traced
from workflow_scripts.settings.config_files import options_of
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.explain import changes, differences
from workflow_scripts.settings.keys import UNSUPPORTED, Key
from workflow_scripts.settings.references import is_interpolation
from workflow_scripts.settings.runs import compose_run
from workflow_scripts.settings.schema import KEYS, WORKFLOW_KEYS, leaves
from workflow_scripts.settings.tables import Table
from workflow_scripts.settings.yaml_files import read_yaml

if TYPE_CHECKING:
    from torch import nn

    from workflow_scripts.models.st import StateTransition

ROOT = Path(__file__).parents[1]
N_GENES = 18_080  # of the 2025 challenge's cells
FEATURE_DIM = 5_120  # of ESM2's largest model

_ASKED_TABLE = re.compile(r"<!-- ((?:trace|diff|keys) [^>]*) -->\n.*?<!-- end -->", re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    """Write the files, or say which ones are stale."""
    parser = command_parser("python docs/document_config.py", __doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file isn't as generated"
    )
    given = parser.parse_args(arguments)
    stale = {path: text for path, text in generated(ROOT).items() if _content(path) != text}
    if given.check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise ConfigError(f"{names}: not as the schema has it; run python docs/document_config.py")
    for path, text in stale.items():
        write_atomically(path, text)
        print(path.relative_to(ROOT))


def generated(root: Path) -> dict[Path, str]:
    """Return the text of every generated file, by its path."""
    sizes = {
        option: size_of(root / "config", option) for option in options_of(root / "config", "model")
    }
    readme = reference(root / "config", sizes, n_genes=N_GENES, feature_dim=FEATURE_DIM)
    texts = {root / "config" / "README.md": readme}
    for page in (root / "docs" / "config.zh-CN.md", root / "docs" / "from_arc_state.md"):
        texts[page] = with_tables(page.read_text("utf-8"), root / "config")
    text = json.dumps(editor_schema(), ensure_ascii=False, indent=1)
    texts[root / "schemas" / "run.schema.json"] = f"{text}\n"
    return texts


def with_tables(page: str, config_dir: Path) -> str:
    """Put the tables that a page asks for by comments: `trace` and `diff` in Chinese, `keys`."""

    def table(place: re.Match[str]) -> str:
        command, *words = place[1].split()
        if command == "keys":
            return f"<!-- {place[1]} -->\n\n{_keys_of_sections(words)}\n<!-- end -->"
        if command == "trace":
            asked = compose_run(config_dir, words[0], []).composition
            found = changes(asked, everything=False, lang="zh")
        else:
            found = differences(config_dir, *words, everything=False, lang="zh")
        return f"<!-- {place[1]} -->\n\n{found.render('markdown')}\n<!-- end -->"

    return _ASKED_TABLE.sub(table, page)


def _keys_of_sections(sections: list[str]) -> str:
    """Write the table of the keys at the top and in some sections, with what is done with them."""
    rows = []
    for key in KEYS.values():
        if "." in key.path and key.path.partition(".")[0] not in sections:
            continue
        if key.kind != "inert":
            does = f"read: {key.meaning}"
        elif key.reason.startswith(UNSUPPORTED):
            does = f"takes {key.takes} only: {key.reason}"
        else:
            does = f"not read: {key.reason}"
        rows.append((f"`{key.path}`", does))
    return _markdown(("Key", "Here"), rows)


def _content(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def model_of(config_dir: Path, option: str, *, n_genes: int, feature_dim: int) -> StateTransition:
    """Build an option of the group ``model``, for data of these widths."""
    # Only where a model is built: --help needn't wait for torch.
    from workflow_scripts.models.from_config import state_transition_settings
    from workflow_scripts.models.st import StateTransition

    config = compose(config_dir, "config", [], [f"model={option}"])
    settings = state_transition_settings(
        config["model"]["kwargs"],
        input_dim=n_genes,
        output_dim=n_genes,
        pert_dim=feature_dim,
        output_space=config["data"]["kwargs"]["output_space"],
        expression_output=True,
    )
    return StateTransition(settings)


def size_of(config_dir: Path, option: str) -> ModelSize:
    """Count the parameters of an option of the group ``model``, without their memory."""
    import torch

    with torch.device("meta"):
        model = model_of(config_dir, option, n_genes=N_GENES, feature_dim=FEATURE_DIM)
    return ModelSize(_count(model), _count(model.transformer_backbone))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


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

*Written by `python docs/document_config.py` from
[the schema](../workflow_scripts/settings/schema.py): change it there, and run that again.*

A run's config is put together in this order, each winning over those before it: the option files
that [config.yaml](config.yaml) names, config.yaml's own values, the run file, the overrides
(`--config overrides='training.lr=3e-4'`). [docs/config.md](../docs/config.md) has the rules.

- What a run changes, and where each value came from:
  `python -m workflow_scripts.config trace demo`
- How two options differ: `python -m workflow_scripts.config diff model pertsets state_sm`
- All about one key: `python -m workflow_scripts.config key training.lr`

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
            chosen = group in plain.choices and plain.choices[group][-1].value == option
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
    keys = [
        key
        for key in KEYS.values()
        if (key.path.startswith(prefix) if prefix else "." not in key.path)
    ]
    read = [key for key in keys if key.kind != "inert"]
    inert = [key for key in keys if key.kind == "inert"]
    if read:
        heads = ("Key", *options, "Type", "Range", "Meaning", "Class: read by")
        yield _markdown(
            heads,
            [
                (
                    f"`{key.path}`",
                    *(_default(key, option) for option in options.values()),
                    key.type_in_tables.replace(" | ", " or "),
                    key.range_in_tables + (f" ({key.unit})" if key.unit else ""),
                    key.meaning,
                    f"{key.kind}: {', '.join(key.stages)}",
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
                    key.range_in_tables or "any value",
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
    written = composition.settings(path)[-1].value
    return f"`{written if is_interpolation(written) else inline(value)}`"


def _workflow_keys(config_dir: Path) -> str:
    values = dict(leaves(cast(dict[str, Any], read_yaml(config_dir / "workflow.yaml").values)))
    rows = [
        (
            f"`{key.path}`",
            f"`{inline(values[key.path])}`",
            key.type_in_tables.replace(" | ", " or "),
            key.meaning,
        )
        for key in WORKFLOW_KEYS.values()
    ]
    return _markdown(("Key", "Default", "Type", "Meaning"), rows)


def _markdown(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Write a table without padding: a longer cell changes its own line alone."""
    text = Table(dict(zip(heads, heads, strict=True)), rows).render("markdown")
    return re.sub(r"-{3,}", "---", re.sub(r" +\|", " |", text))


if __name__ == "__main__":
    run_command(main)
