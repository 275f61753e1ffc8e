"""What a config must satisfy beyond the range of each key: one function for each rule.

A rule names the keys that it reads, the one to change first. It gets their values, and raises a
ValueError that says what is wrong with the first. It is skipped if one of the values is wrong by
itself, or absent from a config that needs it; an optional key that is absent gives None.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from workflow_scripts.settings.choices import (
    BACKBONE,
    CHALLENGES,
    CHOSEN_GENES,
    COUNTERPARTS,
    EACH_CONTEXT,
    EXPRESSION,
    NEEDED_BY,
    OWN_STATES,
    READ_BY,
    given_model,
)
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.settings.suggestions import nearest

Rule = Callable[..., None]
_RULES: list[tuple[tuple[str, ...], Rule]] = []


def rule(*paths: str) -> Callable[[Rule], Rule]:
    """Register a rule about these keys."""

    def register(function: Rule) -> Rule:
        _RULES.append((paths, function))
        return function

    return register


def broken_rules(
    values: Mapping[str, Any], wrong: frozenset[str]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the key, what is wrong with it, and the keys beside it, of each broken rule.

    Parameters
    ----------
    values
        The values of a config by dotted path.
    wrong
        Paths of values that are wrong by themselves.
    """
    for paths, function in _RULES:
        needed = (path for path in paths if not KEYS[path].optional)
        if wrong.isdisjoint(paths) and all(path in values for path in needed):
            try:
                function(*map(values.get, paths))
            except ValueError as error:
                yield paths[0], str(error), paths[1:]


_KIND = "model.kwargs.transformer_backbone_key"
_HIDDEN = "model.kwargs.hidden_dim"
_EMBED = "data.kwargs.embed_key"
_OUTPUT = "prediction.output"


@rule("training.val_freq", "training.max_steps")
def _validations(every: int, steps: int) -> None:
    if every > steps:
        raise ValueError(
            f"is {every}, more than training.max_steps ({steps}), so nothing would be validated; "
            f"make it {steps} or less"
        )


@rule("engine.schedule_steps", "engine.schedule", "engine.warmup_steps")
def _schedule(steps: int | None, kind: str, warmup: int) -> None:
    if kind == "cosine" and steps is None:
        raise ValueError(
            "is null, but engine.schedule=cosine needs it; training.max_steps is a usual value"
        )
    if kind == "constant" and steps is not None:
        raise ValueError(f"is {steps}, but engine.schedule=constant has no end; make it null")
    if steps is not None and steps <= warmup:
        raise ValueError(f"is {steps}; it must be more than engine.warmup_steps, which is {warmup}")


_STEP = (
    *("training.batch_size", "training.gradient_accumulation_steps"),
    *("training.devices", "engine.nodes"),
)


@rule(*_STEP)
def _sets_of_devices(sets: int, batches: int | None, devices: int, nodes: int) -> None:
    ranks = devices * nodes
    if (sets * (batches or 1)) % ranks:
        raise ValueError(
            f"is {sets} cell sets a step, which {ranks} devices can't share equally; choose a "
            f"multiple of {ranks}"
        )


@rule("engine.batch", *_STEP)
def _sets_of_passes(at_once: Any, sets: int, batches: int | None, devices: int, nodes: int) -> None:
    own, rest = divmod(sets * (batches or 1), devices * nodes)
    if isinstance(at_once, int) and not rest and own % at_once:
        ways = ", ".join(str(part) for part in range(1, own + 1) if own % part == 0)
        raise ValueError(
            f"is {at_once}, which does not divide a device's {own} cell sets a step; choose one of "
            f"{ways}, or auto"
        )


@rule("data.kwargs.output_space", _EMBED)
def _space(space: str, embedding: str | None) -> None:
    if space != "embedding" or embedding not in EXPRESSION:
        return
    what = "null" if embedding is None else f"{embedding}, which is expression"
    raise ValueError(
        f"is embedding, but {_EMBED} is {what}: there is no embedding; choose all or gene"
    )


@rule("model.kwargs.gene_decoder_bool", _EMBED)
def _decoder(decodes: bool | None, embedding: str | None) -> None:
    if decodes is False and embedding not in EXPRESSION:
        raise ValueError(
            f"is false, but {_EMBED} is {embedding}, and predictions are written and scored as "
            "expression; set model.kwargs.gene_decoder_bool=true"
        )


@rule("cells.layer", _EMBED)
def _matrix(layer: str | None, embedding: str | None) -> None:
    if layer is not None and embedding == CHOSEN_GENES:
        raise ValueError(
            f"is {layer!r}, but {_EMBED} is {CHOSEN_GENES}; expression is read from one matrix: "
            "make one of them null"
        )


@rule("data.kwargs.cell_type_key", "data.kwargs.pert_col")
@rule("data.kwargs.batch_col", "data.kwargs.pert_col")
def _columns(other: str, column: str) -> None:
    if other == column:
        raise ValueError(f"is {other!r}, which is also data.kwargs.pert_col; choose another column")


@rule("evaluation.extra_metrics", "evaluation.preset")
def _metrics(names: Sequence[str], preset: str | None) -> None:
    if not names:
        return
    known = json.loads((Path(__file__).parent / "metrics.json").read_text())
    first, metrics = known["v1"], {*known["v1"].values(), *known["v2"]}
    wrong = []
    for name in names:
        if (now := first.get(name, name)) not in metrics:
            close = nearest(name, sorted({*metrics, *first}))
            wrong.append(f"{name!r} is no metric of cell-eval2{close}")
        elif preset in ("v1", "cell-eval-0.7.6") and now not in first.values():
            wrong.append(
                f"{name!r} is not computed by evaluation.preset={preset}; remove it or choose v2"
            )
    if wrong:
        raise ValueError("; ".join(wrong))


@rule("evaluation.input_type", _OUTPUT)
def _input_type(given: str | None, output: str) -> None:
    if given is not None and given != {"log1p": "lognorm"}.get(output, output):
        raise ValueError(f"is {given}, but {_OUTPUT} is {output}; make it null to follow {_OUTPUT}")


@rule(_OUTPUT, "prediction.submission")
def _submitted_scale(output: str, submission: str | None) -> None:
    if submission is None or output == (scale := CHALLENGES[submission].scale):
        return
    raise ValueError(
        f"is {output}, but prediction.submission is {submission}, which takes {scale}; set "
        f"{_OUTPUT}={scale}"
    )


@rule("prediction.targets", "prediction.submission")
def _submitted_targets(targets: str | None, submission: str | None) -> None:
    each = CHALLENGES[submission].cells_per_target if submission else None
    if targets is None and each is not None:
        raise ValueError(
            f"is null, but prediction.submission is {submission}, which takes {each} cells of each "
            f"target and context; list them in a table, and set prediction.cells_per_target={each}"
        )


@rule("prediction.average_draws", "prediction.draws", "prediction.submission")
def _submitted_draws(average: bool, draws: int, submission: str | None) -> None:
    each = CHALLENGES[submission].cells_per_target if submission else None
    if each is not None and not average and draws > 1:
        raise ValueError(
            f"is false, which writes a cell for each draw, but prediction.submission is "
            f"{submission}, which takes {each} cells of each target; make it true"
        )


@rule("features.embedding.model", "features.missing")
@rule("features.embedding.fasta", "features.missing")
def _embedding(given: str | None, missing: str) -> None:
    if missing == "embed" and given is None:
        raise ValueError("is null, but features.missing=embed needs it")


@rule("features.missing", "data.kwargs.perturbation_features_file")
def _completed(missing: str, files: Any) -> None:
    if missing == "embed" and isinstance(files, list) and len(files) > 1:
        raise ValueError(
            f"is embed, which completes one feature file, but there are {len(files)}; choose "
            "another value, or complete the files with embed_proteins first"
        )


@rule("genes.file", "genes.select")
def _genes(file: str | None, select: str) -> None:
    if select == "list" and file is None:
        raise ValueError("is null, but genes.select is list; name a text file with one gene a line")
    if select != "list" and file is not None:
        raise ValueError(
            f"is {file!r}, but genes.select is {select}, where nothing reads it; set "
            "genes.select=list, or make this null"
        )


@rule("prediction.checkpoint")
def _model(checkpoint: str | int) -> None:
    given = given_model(checkpoint)
    if given is None or _is_model_path(given):
        return
    raise ValueError(
        f"is {given!r}; it must be {' or '.join(OWN_STATES)}, a number of steps, or the path of a "
        f"model: a checkpoint (….ckpt) or a folder, as ./{given}{nearest(given, OWN_STATES)}"
    )


@rule("prediction.ensemble")
def _ensemble(models: Sequence[str]) -> None:
    wrong = [
        f"{given!r} is not the path of a model: a checkpoint (….ckpt) or a folder, as ./{given}"
        for given in models
        if not _is_model_path(given)
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def _is_model_path(given: str) -> bool:
    return "/" in given or given.endswith(".ckpt")


@rule(
    *("prediction.checkpoint", "training.max_steps", "training.ckpt_every_n_steps"),
    *("engine.keep_checkpoints", "engine.early_stopping"),
)
def _step(step: Any, last: int, every: int, keep: int, patience: int | None) -> None:
    """Require a step whose checkpoint is written, and not deleted before the end."""
    if not isinstance(step, int):
        return
    if step > last or (step % every and step != last):
        raise ValueError(
            f"is {step}, but checkpoints are written every {every} steps up to {last}; choose one "
            "of these steps"
        )
    # The last step, and the multiples between.
    needed = 1 + (-(-last // every) - step // every if step < last else 0)
    if needed > keep and patience is None:
        raise ValueError(
            f"is {step}, but of the checkpoints every {every} steps the newest {keep} stay; set "
            f"engine.keep_checkpoints={needed} before training"
        )


@rule("prediction.cells_per_target", "prediction.targets")
def _cells_per_target(cells: int | None, targets: str | None) -> None:
    if cells is not None and targets is None:
        raise ValueError(
            f"is {cells}, but nothing reads it without prediction.targets; make it null"
        )


@rule("prediction.context_col", "prediction.targets", "prediction.adata")
def _context_column(column: str | None, targets: str | None, cells: str | None) -> None:
    if column is not None and targets is None and cells is None:
        raise ValueError(
            f"is {column!r}, but nothing reads it without prediction.targets or prediction.adata; "
            "make it null"
        )


@rule("splits.leave_out", "splits.test", "splits.make.contexts")
def _leave_out(name: str | None, test: str, contexts: Any) -> None:
    if name is None:
        return
    for other, value, unset in (
        ("splits.test", test, "from_toml"),
        ("splits.make.contexts", contexts, None),
    ):
        if value != unset:
            raise ValueError(
                f"is {name}, but {other} also defines what is tested; remove one of them"
            )
    if name != EACH_CONTEXT and "." not in name:
        raise ValueError(f"is {name}; it takes dataset.context, or {EACH_CONTEXT}")


@rule("model.kwargs.use_batch_token", "model.kwargs.mask_attn")
@rule("model.kwargs.confidence_token", "model.kwargs.mask_attn")
@rule("model.kwargs.confidence_head", "model.kwargs.mask_attn")
def _masked_token(token: bool | None, mask: bool | None) -> None:
    if token and mask:
        raise ValueError(
            "is true, but with mask_attn the token only sees itself; make one of them false"
        )


@rule("model.kwargs.use_batch_token", "model.kwargs.batch_encoder")
def _batch_token_and_encoder(token: bool | None, encoder: bool | None) -> None:
    if token and encoder:
        raise ValueError(
            "is true, but batch_encoder gives the token the batch that it learns; choose one"
        )


@rule("model.kwargs.use_batch_token", "data.kwargs.basal_mapping_strategy")
def _batch_token(token: bool | None, strategy: str) -> None:
    if token and strategy != "batch":
        raise ValueError(
            f"is true, but data.kwargs.basal_mapping_strategy is {strategy}, where a set has "
            "several technical batches; set it to batch"
        )


def _read_by_kind(name: str, value: Any, kind: str, other_value: Any = None) -> None:
    if value is None or name in READ_BY[kind]:
        return
    other, advice = COUNTERPARTS.get(name), "remove it"
    if other in READ_BY[kind]:
        advice = f"rename it to {other}" if other_value is None else f"remove it; {other} is set"
    raise ValueError(f"is not read by the backbone {kind}; {advice}")


def _needed(by: str, value: Any, kind: str) -> None:
    if value is None and kind == by:
        raise ValueError(f"missing; the backbone {kind} needs it")


def _long_enough(by: str, name: str, positions: int | None, kind: str, cells: int) -> None:
    if kind == by and positions is not None and positions < cells:
        raise ValueError(
            f"is {positions}, fewer than the {cells} cells of a set (model.kwargs.cell_set_len)"
            f"; best is {name}: ${{model.kwargs.cell_set_len}}"
        )


def _equal_width(name: str, width: int | None, hidden: int, kind: str) -> None:
    if name in READ_BY[kind] and width not in (None, hidden):
        raise ValueError(
            f"is {width}, but {_HIDDEN} is {hidden}; make them equal, best as "
            f"{name}: ${{{_HIDDEN}}}"
        )


for _name in sorted(READ_BY["llama"] ^ READ_BY["GPT2"]):
    _others = [f"{BACKBONE}.{COUNTERPARTS[_name]}"] if _name in COUNTERPARTS else []
    rule(f"{BACKBONE}.{_name}", _KIND, *_others)(partial(_read_by_kind, _name))
for _kind, _names in NEEDED_BY.items():
    for _name in _names:
        rule(f"{BACKBONE}.{_name}", _KIND)(partial(_needed, _kind))
for _kind, _name in (("llama", "max_position_embeddings"), ("GPT2", "n_positions")):
    check = partial(_long_enough, _kind, _name)
    rule(f"{BACKBONE}.{_name}", _KIND, "model.kwargs.cell_set_len")(check)
for _name in ("hidden_size", "n_embd"):
    rule(f"{BACKBONE}.{_name}", _HIDDEN, _KIND)(partial(_equal_width, _name))


@rule(f"{BACKBONE}.n_head", _HIDDEN, _KIND)
def _gpt2_heads(heads: int | None, hidden: int, kind: str) -> None:
    if kind == "GPT2" and heads is not None and hidden % heads:
        raise ValueError(
            f"is {heads}, which does not divide {_HIDDEN}, {hidden}; change one of them"
        )


@rule(f"{BACKBONE}.num_attention_heads", _HIDDEN, _KIND, f"{BACKBONE}.head_dim")
def _llama_heads(heads: int | None, hidden: int, kind: str, width: int | None) -> None:
    if kind == "llama" and heads is not None and width is None and hidden % heads:
        raise ValueError(
            f"is {heads}, which does not divide {_HIDDEN}, {hidden}; change one of them, or set "
            "head_dim"
        )


@rule(
    *(f"{BACKBONE}.bidirectional_attention", _HIDDEN, _KIND),
    *(f"{BACKBONE}.num_attention_heads", f"{BACKBONE}.head_dim"),
)
def _rotated_heads(
    both: bool | None, hidden: int, kind: str, heads: int | None, width: int | None
) -> None:
    if kind != "llama" or both is not False or heads is None or (width is None and hidden % heads):
        return
    width = hidden // heads if width is None else width
    if width % 2:
        raise ValueError(
            f"is false, which rotates the halves of a head, but a head is {width} wide; make "
            "head_dim even"
        )


@rule(f"{BACKBONE}.num_key_value_heads", f"{BACKBONE}.num_attention_heads", _KIND)
def _key_value_heads(shared: int | None, heads: int | None, kind: str) -> None:
    if kind == "llama" and shared is not None and heads is not None and heads % shared:
        raise ValueError(
            f"is {shared}, which does not divide num_attention_heads, {heads}; change one of them"
        )
