"""What a config must satisfy beyond the range of each key: one function for each rule.

A rule names the keys that it reads, the one to change first. It gets their values and returns what
is wrong with the first, or None. It is skipped if one of the values is wrong by itself, or absent
from a config that needs it; an optional key that is absent gives None.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from workflow_scripts.settings.dump import inline
from workflow_scripts.settings.schema import KEYS
from workflow_scripts.settings.suggestions import nearest

Rule = Callable[..., str | None]
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
        applies = wrong.isdisjoint(paths) and all(path in values for path in needed)
        if applies and (text := function(*map(values.get, paths))):
            yield paths[0], text, paths[1:]


_KIND = "model.kwargs.transformer_backbone_key"
_HIDDEN = "model.kwargs.hidden_dim"
_EMBED = "data.kwargs.embed_key"
_OUTPUT = "prediction.output"


@rule("training.val_freq", "training.max_steps")
def _validations(every: int, steps: int) -> str | None:
    if every > steps:
        return (
            f"is {every}, more than training.max_steps ({steps}), so nothing would be validated; "
            f"make it {steps} or less"
        )
    return None


@rule("engine.schedule_steps", "engine.schedule", "engine.warmup_steps")
def _schedule(steps: int | None, kind: str, warmup: int) -> str | None:
    if kind == "cosine" and steps is None:
        return "is null, but engine.schedule=cosine needs it; training.max_steps is a usual value"
    if kind == "constant" and steps is not None:
        return f"is {steps}, but engine.schedule=constant has no end; make it null"
    if steps is not None and steps <= warmup:
        return f"is {steps}; it must be more than engine.warmup_steps, which is {warmup}"
    return None


_STEP = (
    *("training.batch_size", "training.gradient_accumulation_steps"),
    *("training.devices", "engine.nodes"),
)


@rule(*_STEP)
def _sets_of_devices(sets: int, batches: int | None, devices: int, nodes: int) -> str | None:
    ranks = devices * nodes
    if (sets * (batches or 1)) % ranks:
        return (
            f"is {sets} cell sets a step, which {ranks} devices can't share equally; choose a "
            f"multiple of {ranks}"
        )
    return None


@rule("engine.batch", *_STEP)
def _sets_of_passes(
    at_once: Any, sets: int, batches: int | None, devices: int, nodes: int
) -> str | None:
    own, rest = divmod(sets * (batches or 1), devices * nodes)
    if isinstance(at_once, int) and not rest and own % at_once:
        ways = ", ".join(str(part) for part in range(1, own + 1) if own % part == 0)
        return (
            f"is {at_once}, which does not divide a device's {own} cell sets a step; choose one of "
            f"{ways}, or auto"
        )
    return None


@rule("data.kwargs.output_space", _EMBED)
def _space(space: str, embedding: str | None) -> str | None:
    if space != "embedding" or embedding not in EXPRESSION:
        return None
    what = "null" if embedding is None else f"{embedding}, which is expression"
    return f"is embedding, but {_EMBED} is {what}: there is no embedding; choose all or gene"


@rule("model.kwargs.gene_decoder_bool", _EMBED)
def _decoder(decodes: bool | None, embedding: str | None) -> str | None:
    if decodes is False and embedding not in EXPRESSION:
        return (
            f"is false, but {_EMBED} is {embedding}, and predictions are written and scored as "
            "expression; set model.kwargs.gene_decoder_bool=true"
        )
    return None


@rule("cells.layer", _EMBED)
def _matrix(layer: str | None, embedding: str | None) -> str | None:
    if layer is not None and embedding == CHOSEN_GENES:
        return (
            f"is {layer!r}, but {_EMBED} is {CHOSEN_GENES}; expression is read from one matrix: "
            "make one of them null"
        )
    return None


@rule("data.kwargs.cell_type_key", "data.kwargs.pert_col")
@rule("data.kwargs.batch_col", "data.kwargs.pert_col")
def _columns(other: str, column: str) -> str | None:
    if other == column:
        return f"is {other!r}, which is also data.kwargs.pert_col; choose another column"
    return None


@rule("evaluation.extra_metrics", "evaluation.preset")
def _metrics(names: Sequence[str], preset: str | None) -> str | None:
    if not names:
        return None
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
    return "; ".join(wrong)


@rule("evaluation.input_type", _OUTPUT)
def _input_type(given: str | None, output: str) -> str | None:
    if given is not None and given != {"log1p": "lognorm"}.get(output, output):
        return f"is {given}, but {_OUTPUT} is {output}; make it null to follow {_OUTPUT}"
    return None


@rule("prediction.denoise", _OUTPUT)
@rule("prediction.count_distribution", _OUTPUT)
def _counts(value: bool | str, output: str) -> str | None:
    if output == "log1p" and value not in (False, "poisson"):
        return (
            f"is {inline(value)}, but {_OUTPUT} is log1p, where nothing reads it; set "
            f"{_OUTPUT}=counts, or this to {'false' if value is True else 'poisson'}"
        )
    return None


@rule(_OUTPUT, "prediction.submission")
def _submitted_scale(output: str, submission: str | None) -> str | None:
    if submission is None or output == (scale := CHALLENGES[submission].scale):
        return None
    return (
        f"is {output}, but prediction.submission is {submission}, which takes {scale}; set "
        f"{_OUTPUT}={scale}"
    )


@rule("prediction.targets", "prediction.submission")
def _submitted_targets(targets: str | None, submission: str | None) -> str | None:
    each = CHALLENGES[submission].cells_per_target if submission else None
    if targets is None and each is not None:
        return (
            f"is null, but prediction.submission is {submission}, which takes {each} cells of each "
            f"target and context; list them in a table, and set prediction.cells_per_target={each}"
        )
    return None


@rule("prediction.average_draws", "prediction.draws", "prediction.submission")
def _submitted_draws(average: bool, draws: int, submission: str | None) -> str | None:
    each = CHALLENGES[submission].cells_per_target if submission else None
    if each is not None and not average and draws > 1:
        return (
            f"is false, which writes a cell for each draw, but prediction.submission is "
            f"{submission}, which takes {each} cells of each target; make it true"
        )
    return None


@rule("features.embedding.model", "features.missing")
@rule("features.embedding.fasta", "features.missing")
def _embedding(given: str | None, missing: str) -> str | None:
    if missing == "embed" and given is None:
        return "is null, but features.missing=embed needs it"
    return None


@rule("features.missing", "data.kwargs.perturbation_features_file")
def _completed(missing: str, files: Any) -> str | None:
    if missing == "embed" and isinstance(files, list) and len(files) > 1:
        return (
            f"is embed, which completes one feature file, but there are {len(files)}; choose "
            "another value, or complete the files with embed_proteins first"
        )
    return None


@rule("genes.file", "genes.select")
def _genes(file: str | None, select: str) -> str | None:
    if select == "list" and file is None:
        return "is null, but genes.select is list; name a text file with one gene a line"
    if select != "list" and file is not None:
        return (
            f"is {file!r}, but genes.select is {select}, where nothing reads it; set "
            "genes.select=list, or make this null"
        )
    return None


@rule("prediction.checkpoint")
def _model(checkpoint: str | int) -> str | None:
    given = given_model(checkpoint)
    if given is None or _is_model_path(given):
        return None
    return (
        f"is {given!r}; it must be {' or '.join(OWN_STATES)}, a number of steps, or the path of a "
        f"model: a checkpoint (….ckpt) or a folder, as ./{given}{nearest(given, OWN_STATES)}"
    )


@rule("prediction.ensemble")
def _ensemble(models: Sequence[str]) -> str | None:
    wrong = [
        f"{given!r} is not the path of a model: a checkpoint (….ckpt) or a folder, as ./{given}"
        for given in models
        if not _is_model_path(given)
    ]
    return "; ".join(wrong)


def _is_model_path(given: str) -> bool:
    return "/" in given or given.endswith(".ckpt")


@rule(
    *("prediction.checkpoint", "training.max_steps", "training.ckpt_every_n_steps"),
    *("engine.keep_checkpoints", "engine.early_stopping"),
)
def _step(step: Any, last: int, every: int, keep: int, patience: int | None) -> str | None:
    """Require a step whose checkpoint is written, and not deleted before the end."""
    if not isinstance(step, int):
        return None
    if step > last or (step % every and step != last):
        return (
            f"is {step}, but checkpoints are written every {every} steps up to {last}; choose one "
            "of these steps"
        )
    # The last step, and the multiples between.
    needed = 1 + (-(-last // every) - step // every if step < last else 0)
    if needed > keep and patience is None:
        return (
            f"is {step}, but of the checkpoints every {every} steps the newest {keep} stay; set "
            f"engine.keep_checkpoints={needed} before training"
        )
    return None


@rule("prediction.cells_per_target", "prediction.targets")
def _cells_per_target(cells: int | None, targets: str | None) -> str | None:
    if cells is not None and targets is None:
        return f"is {cells}, but nothing reads it without prediction.targets; make it null"
    return None


@rule("prediction.context_col", "prediction.targets", "prediction.adata")
def _context_column(column: str | None, targets: str | None, cells: str | None) -> str | None:
    if column is not None and targets is None and cells is None:
        return (
            f"is {column!r}, but nothing reads it without prediction.targets or prediction.adata; "
            "make it null"
        )
    return None


@rule("splits.leave_out", "splits.test", "splits.make.contexts")
def _leave_out(name: str | None, test: str, contexts: Any) -> str | None:
    if name is None:
        return None
    for other, value, unset in (
        ("splits.test", test, "from_toml"),
        ("splits.make.contexts", contexts, None),
    ):
        if value != unset:
            return f"is {name}, but {other} also defines what is tested; remove one of them"
    if name != EACH_CONTEXT and "." not in name:
        return f"is {name}; it takes dataset.context, or {EACH_CONTEXT}"
    return None


@rule("model.kwargs.use_batch_token", "model.kwargs.mask_attn")
@rule("model.kwargs.confidence_token", "model.kwargs.mask_attn")
@rule("model.kwargs.confidence_head", "model.kwargs.mask_attn")
def _masked_token(token: bool | None, mask: bool | None) -> str | None:
    if token and mask:
        return "is true, but with mask_attn the token only sees itself; make one of them false"
    return None


@rule("model.kwargs.use_batch_token", "model.kwargs.batch_encoder")
def _batch_token_and_encoder(token: bool | None, encoder: bool | None) -> str | None:
    if token and encoder:
        return "is true, but batch_encoder gives the token the batch that it learns; choose one"
    return None


@rule("model.kwargs.use_batch_token", "data.kwargs.basal_mapping_strategy")
def _batch_token(token: bool | None, strategy: str) -> str | None:
    if token and strategy != "batch":
        return (
            f"is true, but data.kwargs.basal_mapping_strategy is {strategy}, where a set has "
            "several technical batches; set it to batch"
        )
    return None


def _backbone_rules() -> None:
    """Register the rules that hold for each key of the backbone."""
    for name in sorted(READ_BY["llama"] ^ READ_BY["GPT2"]):
        rule(f"{BACKBONE}.{name}", _KIND, *_renamed_path(name))(_read_by_kind(name))
    for kind, names in NEEDED_BY.items():
        for name in names:
            rule(f"{BACKBONE}.{name}", _KIND)(_needed(kind))
    for kind, name in (("llama", "max_position_embeddings"), ("GPT2", "n_positions")):
        rule(f"{BACKBONE}.{name}", _KIND, "model.kwargs.cell_set_len")(_long_enough(kind, name))
    for name in ("hidden_size", "n_embd"):
        rule(f"{BACKBONE}.{name}", _HIDDEN, _KIND)(_equal_width(name))


def _renamed_path(name: str) -> list[str]:
    other = COUNTERPARTS.get(name)
    return [f"{BACKBONE}.{other}"] if other else []


def _read_by_kind(name: str) -> Rule:
    other = COUNTERPARTS.get(name)

    def check(value: Any, kind: str, counterpart: Any = None) -> str | None:
        if value is None or name in READ_BY[kind]:
            return None
        advice = "remove it"
        if other in READ_BY[kind]:
            advice = (
                f"rename it to {other}" if counterpart is None else f"remove it; {other} is set"
            )
        return f"is not read by the backbone {kind}; {advice}"

    return check


def _needed(by: str) -> Rule:
    def check(value: Any, kind: str) -> str | None:
        return f"missing; the backbone {kind} needs it" if value is None and kind == by else None

    return check


def _long_enough(by: str, name: str) -> Rule:
    def check(positions: int | None, kind: str, cells: int) -> str | None:
        if kind == by and positions is not None and positions < cells:
            return (
                f"is {positions}, fewer than the {cells} cells of a set (model.kwargs.cell_set_len)"
                f"; best is {name}: ${{model.kwargs.cell_set_len}}"
            )
        return None

    return check


def _equal_width(name: str) -> Rule:
    def check(width: int | None, hidden: int, kind: str) -> str | None:
        if name in READ_BY[kind] and width not in (None, hidden):
            return (
                f"is {width}, but {_HIDDEN} is {hidden}; make them equal, best as "
                f"{name}: ${{{_HIDDEN}}}"
            )
        return None

    return check


_backbone_rules()


@rule(f"{BACKBONE}.n_head", _HIDDEN, _KIND)
def _gpt2_heads(heads: int | None, hidden: int, kind: str) -> str | None:
    if kind == "GPT2" and heads is not None and hidden % heads:
        return f"is {heads}, which does not divide {_HIDDEN}, {hidden}; change one of them"
    return None


@rule(f"{BACKBONE}.num_attention_heads", _HIDDEN, _KIND, f"{BACKBONE}.head_dim")
def _llama_heads(heads: int | None, hidden: int, kind: str, width: int | None) -> str | None:
    if kind == "llama" and heads is not None and width is None and hidden % heads:
        return (
            f"is {heads}, which does not divide {_HIDDEN}, {hidden}; change one of them, or set "
            "head_dim"
        )
    return None


@rule(
    *(f"{BACKBONE}.bidirectional_attention", _HIDDEN, _KIND),
    *(f"{BACKBONE}.num_attention_heads", f"{BACKBONE}.head_dim"),
)
def _rotated_heads(
    both: bool | None, hidden: int, kind: str, heads: int | None, width: int | None
) -> str | None:
    if kind != "llama" or both is not False or heads is None or (width is None and hidden % heads):
        return None
    width = hidden // heads if width is None else width
    if width % 2:
        return (
            f"is false, which rotates the halves of a head, but a head is {width} wide; make "
            "head_dim even"
        )
    return None


@rule(f"{BACKBONE}.num_key_value_heads", f"{BACKBONE}.num_attention_heads", _KIND)
def _key_value_heads(shared: int | None, heads: int | None, kind: str) -> str | None:
    if kind == "llama" and shared is not None and heads is not None and heads % shared:
        return (
            f"is {shared}, which does not divide num_attention_heads, {heads}; change one of them"
        )
    return None
