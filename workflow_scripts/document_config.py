"""Write what is generated from the schema: config/README.md, schemas/, tables of the docs.

Example:

    python -m workflow_scripts.document_config --check
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workflow_scripts.command import command_parser, run_command
from workflow_scripts.settings.compose import compose
from workflow_scripts.settings.config_files import options_of
from workflow_scripts.settings.errors import ConfigError
from workflow_scripts.settings.explain import changes, differences
from workflow_scripts.settings.finished import write_atomically
from workflow_scripts.settings.json_schema import schema
from workflow_scripts.settings.reference import ModelSize, reference
from workflow_scripts.settings.runs import compose_run

if TYPE_CHECKING:
    from torch import nn

    from workflow_scripts.models.state_transition import StateTransition

ROOT = Path(__file__).parents[1]
N_GENES = 18_080  # of the 2025 challenge's cells
FEATURE_DIM = 5_120  # of ESM2's largest model

_ASKED_TABLE = re.compile(r"<!-- ((?:trace|diff) [^>]*) -->\n.*?<!-- end -->", re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    """Write the files, or say which ones are stale."""
    parser = command_parser("python -m workflow_scripts.document_config", __doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file isn't as generated"
    )
    given = parser.parse_args(arguments)
    stale = {path: text for path, text in generated(ROOT).items() if _content(path) != text}
    if given.check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise ConfigError(
            f"{names}: not as the schema has it; run python -m workflow_scripts.document_config"
        )
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
    walk = root / "docs" / "config.zh-CN.md"
    texts[walk] = with_tables(walk.read_text("utf-8"), root / "config")
    text = json.dumps(schema(), ensure_ascii=False, indent=1)
    texts[root / "schemas" / "run.schema.json"] = f"{text}\n"
    return texts


def with_tables(page: str, config_dir: Path) -> str:
    """Put tables of `explain_config`, in Chinese, where a page asks for them by comments."""

    def table(place: re.Match[str]) -> str:
        command, *words = place[1].split()
        if command == "trace":
            asked = compose_run(config_dir, words[0], []).composition
            found = changes(config_dir, asked, everything=False, lang="zh")
        else:
            found = differences(config_dir, *words, everything=False, lang="zh")
        return f"<!-- {place[1]} -->\n\n{found.render('markdown')}\n<!-- end -->"

    return _ASKED_TABLE.sub(table, page)


def _content(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def model_of(config_dir: Path, option: str, *, n_genes: int, feature_dim: int) -> StateTransition:
    """Build an option of the group ``model``, for data of these widths."""
    # Only where a model is built: --help needn't wait for torch.
    from workflow_scripts.models.from_config import state_transition_settings
    from workflow_scripts.models.state_transition import StateTransition

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


if __name__ == "__main__":
    run_command(main)
