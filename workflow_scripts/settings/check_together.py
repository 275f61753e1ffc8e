"""Check values that are right by themselves, but not beside one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workflow_scripts.settings.check_backbone import backbone
from workflow_scripts.settings.check_tokens import tokens
from workflow_scripts.settings.check_value import shown
from workflow_scripts.settings.model_path import CHECKPOINT, ENSEMBLE, OWN_STATES, given_model
from workflow_scripts.settings.problem import Problem
from workflow_scripts.settings.schema.data import CHOSEN_GENES, EMBED_KEY, EXPRESSION
from workflow_scripts.settings.schema.inputs import EACH_CONTEXT, LEAVE_OUT
from workflow_scripts.settings.schema.metrics import METRICS, V1_NAMES, V1_PRESETS
from workflow_scripts.settings.schema.submissions import CHALLENGES
from workflow_scripts.settings.schema.submissions import KEY as SUBMISSION
from workflow_scripts.settings.suggestions import nearest


def combinations(values: Mapping[str, Any], broken: frozenset[str]) -> Iterator[Problem]:
    """Give the problems of values beside one another.

    Parameters
    ----------
    values
        The values that are right by themselves, by dotted path.
    broken
        Paths of those that aren't: they are present, and nothing can be said of them.
    """
    yield from backbone(values, broken)
    for look in _LOOKS:
        yield from look(values)


def _schedule(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Hold the end of a schedule to one that has an end."""
    path, beside = "engine.schedule_steps", ("engine.schedule", "engine.warmup_steps")
    kind, steps = values.get("engine.schedule"), values.get(path)
    warmup = values.get("engine.warmup_steps", 0)
    if path not in values or kind is None:
        return
    if kind == "cosine" and steps is None:
        text = "is null, and engine.schedule=cosine needs it; training.max_steps is the usual one"
        yield Problem(path, text, beside[:1])
    elif kind == "constant" and steps is not None:
        yield Problem(path, f"is {steps}, and engine.schedule=constant has no end", beside[:1])
    elif steps is not None and steps <= warmup:
        text = f"is {steps}, and must be more than engine.warmup_steps, which is {warmup}"
        yield Problem(path, text, beside[1:])


def _validations(values: Mapping[str, Any]) -> Iterator[Problem]:
    every, steps = values.get("training.val_freq"), values.get("training.max_steps")
    if every is not None and steps is not None and every > steps:
        yield Problem(
            "training.val_freq",
            f"is {every}, more than training.max_steps ({steps}), so nothing would be validated; "
            f"make it {steps} or less",
            ("training.max_steps",),
        )


def _shares(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Hold devices and passes to equal parts of a step."""
    path, devices, batch = "training.batch_size", "training.devices", "engine.batch"
    sets, on_node, at_once = (values.get(name) for name in (path, devices, batch))
    nodes = values.get("engine.nodes")
    if sets is None or on_node is None or nodes is None:
        return
    ranks = on_node * nodes
    if sets % ranks:
        yield Problem(
            path,
            f"is {sets} cell sets a step, which {ranks} devices can't share equally; choose a "
            f"multiple of {ranks}",
            (devices,),
        )
    elif isinstance(at_once, int) and sets // ranks % at_once:
        own = sets // ranks
        ways = ", ".join(str(part) for part in range(1, own + 1) if own % part == 0)
        yield Problem(
            batch,
            f"is {at_once}, and a device's {own} cell sets a step can't be computed so many at a "
            f"time; choose one of {ways}, or auto",
            (path, devices),
        )


def _space(values: Mapping[str, Any]) -> Iterator[Problem]:
    path = "data.kwargs.output_space"
    if values.get(path) == "embedding" and values.get(EMBED_KEY, "another") in EXPRESSION:
        name = values[EMBED_KEY]
        what = "null" if name is None else f"{name}, which is expression"
        yield Problem(
            path,
            f"is embedding, but {EMBED_KEY} is {what}, so that there is no embedding to predict; "
            "choose all or gene",
            (EMBED_KEY,),
        )


def _decoder(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Hold a model of embeddings to a decoder: what it predicts is scored as expression."""
    path, name = "model.kwargs.gene_decoder_bool", values.get(EMBED_KEY)
    if name not in EXPRESSION and values.get(path) is False:
        yield Problem(
            path,
            f"is false, but {EMBED_KEY} is {name}: nothing would turn predicted embeddings into "
            f"the expression that is written and scored; set {path}=true",
            (EMBED_KEY,),
        )


def _matrix(values: Mapping[str, Any]) -> Iterator[Problem]:
    layer, chosen = values.get("cells.layer"), values.get(EMBED_KEY) == CHOSEN_GENES
    if layer is not None and chosen:
        yield Problem(
            "cells.layer",
            f"is {layer!r}, and {EMBED_KEY} is {CHOSEN_GENES!r}; expression is read of one matrix: "
            "make one of them null",
            (EMBED_KEY,),
        )


def _columns(values: Mapping[str, Any]) -> Iterator[Problem]:
    column = values.get("data.kwargs.pert_col")
    for other in ("cell_type_key", "batch_col"):
        if column is not None and column == values.get(f"data.kwargs.{other}"):
            yield Problem(
                f"data.kwargs.{other}",
                f"is {column!r}, which is also data.kwargs.pert_col; a column can't hold both",
                ("data.kwargs.pert_col",),
            )


def _metrics(values: Mapping[str, Any]) -> Iterator[Problem]:
    path = "evaluation.extra_metrics"
    preset = values.get("evaluation.preset")
    for name in values.get(path, ()):
        now = V1_NAMES.get(name, name)
        if now not in METRICS:
            close = nearest(name, (*METRICS, *V1_NAMES))
            yield Problem(path, f"{name!r} is no metric of cell-eval2{close}")
        elif preset in V1_PRESETS and now not in V1_NAMES.values():
            yield Problem(
                path,
                f"{name!r} is not computed by the preset {preset} (evaluation.preset); take it out "
                "or choose the preset v2",
                ("evaluation.preset",),
            )


def _scale(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Hold the scorer, and what belongs to counts, to the scale that is predicted."""
    path = "prediction.output"
    output, told = values.get(path), values.get("evaluation.input_type")
    if output is None:
        return
    words = {"log1p": "lognorm", "counts": "counts"}
    if told is not None and told != words[output]:
        text = f"is {told}, but {path} is {output}; make it null, and it follows"
        yield Problem("evaluation.input_type", text, (path,))
    of_counts = {"prediction.denoise": False, "prediction.count_distribution": "poisson"}
    for name, idle in of_counts.items():
        if output == "log1p" and values.get(name, idle) != idle:
            text = f"is {shown(values[name])}, which nothing would read, as {path} is log1p"
            yield Problem(name, f"{text}; set {path}=counts, or this to {shown(idle)}", (path,))


def _submission(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Hold what a competition takes to what is predicted."""
    challenge = CHALLENGES.get(str(values.get(SUBMISSION)))
    if challenge is None:
        return
    where = f"{SUBMISSION} is {values[SUBMISSION]}"
    path = "prediction.output"
    if values.get(path, challenge.scale) != challenge.scale:
        text = f"is {values[path]}, but {where}, which takes {challenge.scale}; set {path}="
        yield Problem(path, text + challenge.scale, (SUBMISSION,))
    each = challenge.cells_per_target
    if each is None:
        return
    path = "prediction.targets"
    if path in values and values[path] is None:
        text = (
            f"is null, but {where}, which takes {each} cells of each target and context, and a "
            f"test split has as many as were measured; list them, with "
            f"prediction.cells_per_target={each}"
        )
        yield Problem(path, text, (SUBMISSION,))
    if not values.get("prediction.average_draws", True) and values.get("prediction.draws", 1) > 1:
        text = f"is false, so that there would be a cell of each draw, but {where}; make it true"
        yield Problem("prediction.average_draws", text, (SUBMISSION,))


def _datasets(values: Mapping[str, Any]) -> Iterator[Problem]:
    for name, files in (values.get("cells.datasets") or {}).items():
        entries = files if isinstance(files, list) else [files]
        wrong = [entry for entry in entries if not isinstance(entry, str) or not entry.strip()]
        if not isinstance(name, str) or not name.strip():
            yield Problem(
                "cells.datasets",
                f"names a dataset {shown(name)}; a name is text: put it in quotes",
            )
        elif not entries or wrong:
            yield Problem(
                f"cells.datasets.{name}",
                f"is {shown(files)}; it takes a file, a folder or a glob, or a list of them",
            )


def _embedding(values: Mapping[str, Any]) -> Iterator[Problem]:
    if values.get("features.missing") != "embed":
        return
    for name, what in (("model", "an ESM2 model"), ("fasta", "a FASTA file of proteins")):
        path = f"features.embedding.{name}"
        if path in values and values[path] is None:
            yield Problem(
                path, f"is null, but features.missing is embed; name {what}", ("features.missing",)
            )
    files = values.get("data.kwargs.perturbation_features_file")
    if isinstance(files, list) and len(files) > 1:
        yield Problem(
            "features.missing",
            f"is embed, which completes one feature file, but there are {len(files)}; choose "
            "another policy, or complete the files with embed_proteins by hand",
            ("data.kwargs.perturbation_features_file",),
        )


def _genes(values: Mapping[str, Any]) -> Iterator[Problem]:
    select, path = values.get("genes.select"), "genes.file"
    if select is None or path not in values:
        return
    if select == "list" and values[path] is None:
        text = "is null, but genes.select is list; name a text file with a gene a line"
        yield Problem(path, text, ("genes.select",))
    elif select != "list" and values[path] is not None:
        yield Problem(
            path,
            f"is {values[path]!r}, which nothing would read, as genes.select is {select}; make "
            "that list, or this null",
            ("genes.select",),
        )


def _checkpoint(values: Mapping[str, Any]) -> Iterator[Problem]:
    path = "prediction.checkpoint"
    value = values.get(path)
    if isinstance(value, int):
        yield from _step(value, values)
    if value is None or (given := given_model(value)) is None:
        return
    if "/" not in given and not given.endswith(CHECKPOINT):
        close = nearest(given, OWN_STATES)
        yield Problem(
            path,
            f"is {given!r}; it must be {' or '.join(OWN_STATES)}, a number of steps, or the path "
            f"of a model: a checkpoint (….ckpt) or a folder, as ./{given}{close}",
        )


def _step(step: int, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Hold a step to those of which a checkpoint is written, and is still there at the end."""
    beside = ("training.max_steps", "training.ckpt_every_n_steps", "engine.keep_checkpoints")
    last, every, keep = (values.get(name) for name in beside)
    if last is None or every is None or keep is None:
        return
    if step > last or (step % every and step != last):
        yield Problem(
            "prediction.checkpoint",
            f"is {step}, and checkpoints are written every {every} steps up to {last}; choose one "
            "of these steps",
            beside[:2],
        )
        return
    # The last step, and the multiples between.
    needed = 1 + (-(-last // every) - step // every if step < last else 0)
    if needed > keep and values.get("engine.early_stopping") is None:
        yield Problem(
            "prediction.checkpoint",
            f"is {step}, and of the checkpoints every {every} steps the newest {keep} stay; set "
            f"engine.keep_checkpoints={needed} before training",
            beside,
        )


def _ensemble(values: Mapping[str, Any]) -> Iterator[Problem]:
    for given in values.get(ENSEMBLE, ()):
        if "/" not in given and not given.endswith(CHECKPOINT):
            text = (
                f"{given!r} is no path of a model: a checkpoint (….ckpt) or a folder, as ./{given}"
            )
            yield Problem(ENSEMBLE, text)


def _targets(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Refuse what would be read by nothing, as nothing but the test split is asked for."""
    needed = {
        "prediction.cells_per_target": ("prediction.targets",),
        "prediction.context_col": ("prediction.targets", "prediction.adata"),
    }
    for path, beside in needed.items():
        idle = all(values.get(name) is None for name in beside)
        if idle and values.get(path) is not None:
            text = f"is {values[path]!r}, which nothing would read without {' or '.join(beside)}"
            yield Problem(path, f"{text}; make it null", beside)


def _held_out(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Let one key say what is tested."""
    path, name = LEAVE_OUT, values.get(LEAVE_OUT)
    if name is None:
        return
    for other, nothing in (("splits.test", "from_toml"), ("splits.make.contexts", None)):
        if other in values and values[other] != nothing:
            text = f"is {name}, and {other} says what is tested as well; take one of them out"
            yield Problem(path, text, (other,))
    if name != EACH_CONTEXT and "." not in name:
        yield Problem(path, f"is {name}; it takes dataset.context, or {EACH_CONTEXT}", ())


_LOOKS = (
    *(_space, _decoder, _matrix, _validations, _shares, _columns, _metrics),
    *(_scale, _submission, _datasets, _embedding, _held_out),
    *(_genes, tokens, _schedule, _checkpoint, _ensemble, _targets),
)
