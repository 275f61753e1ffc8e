"""Every key of the config: its type, its range, its meaning, and who reads it.

Keys that nothing reads are in unread.yaml, but for those that have a type or a range of their own.
The checks of a config, what a change of a key runs again, the reference of all keys
(config/README.md) and the JSON Schema for editors are derived from these classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field

from workflow_scripts.settings.choices import Baseline, NegativeControl
from workflow_scripts.settings.keys import (
    Folder,
    FolderName,
    Items,
    Key,
    NullableText,
    Positive,
    Section,
    Seed,
    Text,
    extent,
    identity,
    inert,
    operational,
    with_unread,
)

TRAIN = "preflight train"
PREDICT = "predict predict_baselines predict_negative_controls"
SCORE = "anchors evaluate"


@with_unread("data.kwargs")
class DataKwargs(Section):
    toml_config_path: NullableText = identity("splits")
    """Split file (TOML): the datasets, and what is held out for validation and test. Can be null
    if cells.datasets names the files and splits.make, splits.leave_out or splits.test=none defines
    the split"""
    embed_key: NullableText = identity("cells preflight")
    """What the model reads of a cell. null: the expression of all genes, from X or cells.layer.
    X_hvg: the expression of the genes in obsm["X_hvg"], whose names are in uns or marked in var.
    Another name: that embedding in obsm (X_pca, X_state); the model predicts the embedding and
    decodes it to expression"""
    output_space: Literal["all", "gene", "embedding"] = identity(TRAIN)
    """Where the residual of a prediction is added. all: to the output, which then goes through a
    bottleneck of an eighth of its width. gene, embedding: inside the model. The model predicts
    expression, or the embedding that embed_key names; embedding needs such an embed_key"""
    num_workers: int = operational(TRAIN, ge=0, unit="threads")
    """Threads that read the next cells while a step runs; 0: each step waits for its cells"""
    pin_memory: bool = operational("train")
    """Copy cells to the GPU through pinned memory"""
    basal_mapping_strategy: Literal["random", "batch"] = identity(f"{TRAIN} {PREDICT}")
    """Where the control cells of a set come from: the same context (random), or the same technical
    batch of that context (batch), with the context as fallback for batches without controls"""
    should_yield_control_cells: bool = identity(TRAIN)
    """Also train on sets of control cells"""
    batch_col: Text = identity("cells")
    """Column of obs with the technical batch"""
    pert_col: Text = identity("cells targets")
    """Column of obs with the perturbation"""
    cell_type_key: Text = identity("cells targets")
    """Column of obs with the context: cell type or cell line"""
    control_pert: Text = identity("cells targets preflight")
    """Label of the control cells in pert_col"""
    map_controls: bool = identity("train")
    """Predict a set of control cells from other control cells; false: from the set itself"""
    perturbation_features_file: NullableText | Items[Text] = identity("features")
    """File with a vector for each perturbation (.pt, .safetensors, .npz, .parquet, .csv, .tsv,
    .h5ad), or a list of files whose vectors are concatenated. null: one-hot over the sorted
    names"""
    val_subsample_fraction: float | None = identity("train", gt=0, le=1, optional=True)
    """Part of the validation sets that a validation uses, spread over the groups. null, 1
    or absent: all, up to engine.validation_sets"""


@with_unread("data")
class Data(Section):
    kwargs: DataKwargs


@with_unread("model.kwargs.transformer_backbone_kwargs")
class BackboneKwargs(Section):
    max_position_embeddings: int = inert(
        "the cells of a set have no order; must not be less than cell_set_len",
        ge=1,
        unit="cells",
    )
    """Longest sequence, as llama names it"""
    n_positions: int = inert(
        "the cells of a set have no order; must not be less than cell_set_len",
        ge=1,
        unit="cells",
    )
    """Longest sequence, as GPT2 names it"""
    hidden_size: int = identity(TRAIN, ge=1, optional=True)
    """Width of the backbone; must equal model.kwargs.hidden_dim"""
    n_embd: int = identity(TRAIN, ge=1, optional=True)
    """hidden_size, as GPT2 names it; must equal model.kwargs.hidden_dim"""
    intermediate_size: int = identity(TRAIN, ge=1, optional=True)
    """Width inside the feed-forward part of a llama layer"""
    n_inner: int = identity(TRAIN, ge=1, optional=True)
    """Width inside the feed-forward part of a GPT2 layer; 4 × hidden_dim if absent"""
    num_hidden_layers: int = identity(TRAIN, ge=1, unit="layers", optional=True)
    """Layers of a llama backbone"""
    n_layer: int = identity(TRAIN, ge=1, unit="layers", optional=True)
    """Layers of a GPT2 backbone"""
    num_attention_heads: int = identity(TRAIN, ge=1, unit="heads", optional=True)
    """Attention heads of a llama layer"""
    n_head: int = identity(TRAIN, ge=1, unit="heads", optional=True)
    """Attention heads of a GPT2 layer; must divide hidden_dim"""
    num_key_value_heads: int = identity(TRAIN, ge=1, unit="heads", optional=True)
    """Heads of keys and values of a llama layer, shared by the attention heads;
    num_attention_heads if absent"""
    head_dim: int = identity(TRAIN, ge=1, optional=True)
    """Width of an attention head of llama; hidden_dim / num_attention_heads if absent"""
    attention_dropout: float = identity(TRAIN, ge=0, le=1, optional=True)
    """Dropout of llama's attention weights"""
    attn_pdrop: float = identity(TRAIN, ge=0, le=1, optional=True)
    """Dropout of GPT2's attention weights; 0.1 if absent"""
    resid_pdrop: float = identity(TRAIN, ge=0, le=1, optional=True)
    """Dropout of the output of each part of a GPT2 layer; 0.1 if absent"""
    embd_pdrop: float = identity(TRAIN, ge=0, le=1, optional=True)
    """Dropout of the input of a GPT2 backbone; 0.1 if absent"""
    bidirectional_attention: bool = identity(TRAIN, optional=True)
    """Let each cell attend to all cells of its set (also if absent); false: only to those before
    it, so that the order of the cells changes the prediction"""


@with_unread("model.kwargs.lora")
class Lora(Section):
    """Low-rank adapters, which are accepted if they are not enabled."""


@with_unread("model.kwargs")
class ModelKwargs(Section):
    cell_set_len: int = identity(f"{TRAIN} {PREDICT}", ge=1, unit="cells")
    """Cells of a set, which attend to one another"""
    decoder_hidden_dims: list[Positive] = identity(TRAIN, optional=True)
    """Widths of the hidden layers of the gene decoder; [1024, 1024, 512] if absent. Only used with
    an embedding (embed_key)"""
    blur: float = identity(TRAIN, gt=0, unit="log1p expression")
    """Length below which the Sinkhorn divergence blurs; not used by energy and mse"""
    hidden_dim: int = identity(TRAIN, ge=1)
    """Width of the model"""
    loss: Literal["energy", "mse", "sinkhorn", "se"] = identity(TRAIN)
    """Distance between the predicted and the observed cell set: energy (see distributional_loss),
    mse, sinkhorn, or se = energy + 0.01 × sinkhorn"""
    confidence_token: bool = identity(TRAIN, optional=True)
    """Add a token that learns to predict 10 × the loss of its set, with weight 0.01"""
    confidence_head: bool = identity(TRAIN, optional=True)
    """Another name of confidence_token: either can turn it on"""
    n_encoder_layers: int = identity(TRAIN, ge=1, unit="layers")
    """Layers of the perturbation encoder and, with use_basal_projection, of the control encoder"""
    n_decoder_layers: int = identity(TRAIN, ge=1, unit="layers")
    """Layers from the backbone's output to the prediction"""
    predict_residual: bool = identity(TRAIN)
    """Predict the change from the control cells (in expression space if output_space is all)"""
    transformer_decoder: bool = inert(
        "n_decoder_layers linear layers decode the backbone's output", usual=False
    )
    """Decode the backbone's output with a transformer"""
    residual_decoder: bool = identity(TRAIN, optional=True)
    """Add a skip connection around every second hidden layer of the gene decoder; the two layers
    must have the same width. Only used with an embedding (embed_key)"""
    batch_encoder: bool = identity(TRAIN, optional=True)
    """Add a learned vector of its technical batch to each cell"""
    use_batch_token: bool = identity(TRAIN, optional=True)
    """Add a token that learns to predict the technical batch of its set (cross-entropy, weight
    0.1); needs basal_mapping_strategy: batch, and excludes batch_encoder"""
    decoder_loss_weight: float = identity(TRAIN, gt=0, optional=True)
    """Weight of the loss on decoded genes relative to the loss on the embedding; 1.0 if absent.
    Only used with an embedding (embed_key)"""
    use_basal_projection: bool = identity(TRAIN, optional=True)
    """Encode control cells with n_encoder_layers layers (also if absent); false: with one linear
    layer"""
    mask_attn: bool = identity(TRAIN, optional=True)
    """Let each cell attend only to itself, not to the others of its set"""
    use_effect_gating_token: bool = inert("the model has no such token", usual=False)
    """Add a token that learns the strength of the perturbation"""
    distributional_loss: Literal["energy", "sinkhorn"] = identity(TRAIN, optional=True)
    """What loss: energy measures: the energy distance or the Sinkhorn divergence; not used by
    other losses"""
    mmd_num_chunks: int = identity(TRAIN, ge=1, unit="chunks", optional=True)
    """Chunks of genes: the energy distance and the Sinkhorn divergence are means over them; mse and
    se use all genes at once"""
    regularization: float = identity(TRAIN, ge=0, optional=True)
    """Weight in the loss of the mean absolute change from the control cells"""
    dropout: float = identity(TRAIN, ge=0, lt=1, optional=True)
    """Dropout in the encoders and the decoder; 0.1 if absent"""
    gene_decoder_bool: bool = identity(TRAIN, optional=True)
    """Decode predicted embeddings to the expression of genes; true if absent. Must be true with an
    embedding (embed_key), since scores are computed on expression; not used without one"""
    transformer_backbone_key: Literal["llama", "GPT2"] = identity(TRAIN)
    """Backbone through which the cells of a set attend to one another"""
    lora: Lora = Field(default_factory=Lora)
    init_from: NullableText = identity(TRAIN, optional=True)
    """Model whose weights training starts from: a model folder or a checkpoint of Stateline
    (import_checkpoint converts one of the reference). Genes are matched by name; what does not fit
    is initialised at random and listed. null: random weights"""
    freeze_pert_backbone: bool = identity(TRAIN, optional=True)
    """Keep the backbone and the perturbation encoder as init_from has them, and train the rest"""
    freeze_pert: bool = identity(TRAIN, optional=True)
    """Another name of freeze_pert_backbone: either can turn it on"""
    transformer_backbone_kwargs: BackboneKwargs


@with_unread("model")
class Model(Section):
    name: Literal["PertSets", "state"] = inert("both names mean the State-Transition model")
    """Class of the model"""
    device: Literal["auto", "cuda", "cpu"] = operational(
        "preflight train predict predict_negative_controls"
    )
    """Where the model runs: cuda and auto use the GPU if there is one; cpu never uses it"""
    kwargs: ModelKwargs


@with_unread("training.mfu_kwargs")
class MfuKwargs(Section):
    """Measurements of how much of the GPU's arithmetic is used."""


@with_unread("training")
class Training(Section):
    weight_decay: float = identity("train", ge=0)
    """Weight decay of AdamW"""
    batch_size: int = identity(TRAIN, ge=1, unit="cell sets")
    """Cell sets of a training step (of one of its parts: see gradient_accumulation_steps)"""
    gradient_accumulation_steps: int = identity(TRAIN, ge=1, optional=True)
    """Batches of batch_size cell sets whose gradients are averaged in a step; 1 if absent"""
    lr: float = identity("train", gt=0)
    """Learning rate of AdamW"""
    max_steps: int = extent(TRAIN, ge=1, unit="steps")
    """Steps to train; with a larger number, a finished training continues from its last step"""
    train_seed: Seed = identity("train")
    """Seed of the initial weights, of the cells drawn for each step, and of dropout"""
    val_freq: int = identity("train", ge=1, unit="steps")
    """Steps between two validations; at most max_steps"""
    ckpt_every_n_steps: int = extent("train", ge=1, unit="steps")
    """Steps between two checkpoints; the last step always writes one"""
    gradient_clip_val: float = identity("train", ge=0)
    """Largest norm of the gradient, which is scaled down to it; 0: no limit"""
    devices: int = operational(TRAIN, ge=1, unit="devices")
    """GPUs of one machine that train together or, without a GPU, processes on its CPU. Each takes
    an equal part of the cell sets of a step"""
    strategy: Literal["auto", "ddp"] = operational("train")
    """How several devices share the work, as Lightning names it; auto is ddp"""
    mfu_kwargs: MfuKwargs = Field(default_factory=MfuKwargs)


class Wandb(Section):
    entity: NullableText = operational("train")
    """User or team on Weights & Biases; null: the one you are logged in as"""
    project: Text = operational("train")
    """Project on Weights & Biases"""
    local_wandb_dir: Text = operational("train")
    """Folder for the files of Weights & Biases"""
    tags: Items[Text] = operational("train")
    """Tags of the run on Weights & Biases"""


class Embedding(Section):
    model: NullableText = identity("features")
    """ESM2 model that embeds proteins: a folder, or a name on the hub such as
    facebook/esm2_t36_3B_UR50D"""
    fasta: NullableText = identity("features")
    """Protein sequences (FASTA, can be .gz) with the gene symbol in the header: GN=, gene_symbol:,
    [gene=] or the first word. Of several isoforms the longest is used"""
    window: int = identity("features", ge=64, unit="residues")
    """Residues that the model reads at once. Longer proteins are read in windows that overlap by
    half, and a residue's state is the mean over its windows"""
    precision: Literal["32-true", "bf16-true"] = identity("features")
    """Precision of the protein model"""


class Features(Section):
    control: Literal["given", "zeros", "mean"] = identity("features")
    """Feature vector of the control: from the file (given), zeros, or the mean of the others"""
    missing: Literal["error", "embed", "mean", "zero"] = identity("features")
    """What to do with a perturbation that has no vector: stop (error), embed its protein (embed),
    take the mean of the others, or zeros (zero); the report lists them"""
    embedding: Embedding
    combinations: Literal["error", "sum", "mean"] = identity("features")
    """What to do with a combination A+B that has no vector: stop (error), or take the sum or the
    mean of the vectors of its parts, without the control"""
    aliases: dict[Text, Text] = identity("features")
    """Other names, as label in the data: name in the feature file"""
    stand_in: bool = identity("features")
    """The feature file holds no real protein features; every report then states that"""


class Cells(Section):
    datasets: dict[Text, Text | Annotated[Items[Text], Field(min_length=1)]] | None = identity(
        "cells"
    )
    """Files of each dataset, as name: file, folder or glob (or a list of them). null: the
    [datasets] of the split file"""
    values: Literal["auto", "counts", "log1p"] = identity("cells preflight")
    """What X holds: raw counts, or log1p of normalised counts. auto: Stateline looks at the values
    and records what it finds"""
    layer: NullableText = identity("cells")
    """Layer to read in place of X"""
    genes: Literal["same", "intersection"] = identity("cells")
    """Genes of several files: they must be the same (same), or only the shared ones are read
    (intersection) and counts are scaled by the sum over those"""
    gene_names: NullableText = identity("cells")
    """Column of var with the names of the genes, or index. null: gene_name if there is such a
    column, else the index"""
    target_sum: float = identity("cells", ge=1, unit="counts")
    """Sum that the counts of a cell are scaled to before log1p"""


class MakeSplits(Section):
    contexts: Items[Text] | None = identity("splits")
    """Contexts, as dataset.context, from which test and validation perturbations are drawn;
    splits.toml in the run's folder shows the split. null: none"""
    test: float = identity("splits", gt=0, lt=1)
    """Fraction of a context's perturbations drawn for test, stratified by number of cells"""
    validation: float = identity("splits", gt=0, lt=1)
    """Fraction of a context's perturbations drawn for validation"""


class Splits(Section):
    validation: Literal["from_toml", "from_train"] = identity("splits")
    """Where the validation perturbations come from: the split file (from_toml), or a draw from the
    training perturbations (from_train)"""
    validation_fraction: float = identity("splits", gt=0, lt=1)
    """Fraction of a context's training perturbations that from_train draws"""
    test: Literal["from_toml", "none"] = identity("splits")
    """What is tested: what the split file holds out (from_toml), or nothing (none): all cells
    train, and nothing is predicted or scored"""
    held_out_controls: Literal["share", "keep_out"] = identity("splits")
    """Controls of a context without training perturbations: train on them like on other controls
    (share), or only start predictions from them (keep_out)"""
    make: MakeSplits
    leave_out: NullableText = identity("splits")
    """Context, as dataset.context, whose perturbed cells are all tested, while the other contexts
    train; overrides the test part of the split file. each_context: one run for each context
    (cross-validation). null: other keys define the test split"""
    least_cells: int = identity("splits", ge=1, unit="cells")
    """Perturbations with fewer cells in a context are excluded there"""
    least_knockdown: float | None = identity("splits", gt=0, lt=1)
    """Perturbations whose target lost a smaller fraction of its expression are excluded; those
    whose target is not measured stay. null: all stay"""
    overlap: Literal["error", "test_wins"] = identity("splits")
    """What to do with a perturbation that the split file lists in both val and test: stop (error),
    or test on it (test_wins)"""
    seed: Seed = identity("splits")
    """Seed of the draws of held-out perturbations"""
    contexts_are: Literal["replicates", "contexts"] | None = identity("evaluate")
    """What contexts are, for what a score may claim: replicates of one another, or different cells.
    null: a tested context is a replicate where its controls differ from those of a training context
    in fewer than 5 % of the genes"""


class Genes(Section):
    select: Literal["all", "hvg", "list"] = identity("preflight genes")
    """Genes that are read, predicted and scored: all; the most variable ones in the training cells,
    as scanpy finds them (hvg); or those of genes.file (list). The store keeps all genes, and values
    stay scaled by the sum over all"""
    n_top: int = identity("preflight genes", ge=1, unit="genes")
    """With hvg: number of genes; scanpy takes more if several are equal at the end"""
    flavor: Literal["seurat", "cell_ranger"] = identity("genes")
    """With hvg: scanpy's ranking by dispersion among genes with a similar mean, in bins of equal
    width (seurat) or of equal size (cell_ranger)"""
    sample_cells: int = identity("genes", ge=2, unit="cells")
    """With hvg: most training cells that scanpy reads, spread evenly over the groups; they
    determine its memory"""
    keep_targets: bool = identity("preflight genes")
    """With hvg: also read the measured target genes, held-out ones included, so that knock-downs
    stay visible. A list is taken as it is"""
    file: NullableText = identity("preflight genes")
    """With list: text file with one gene name a line; blank lines and text after # are ignored.
    genes.txt beside the packed cells has all names"""


class Engine(Section):
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = identity(TRAIN)
    """Precision of a training step, as Lightning names it; auto: bf16-mixed if the GPU has it, else
    32-true"""
    schedule: Literal["constant", "cosine"] = identity("train")
    """Learning rate after the warmup: constant, or a half cosine down to schedule_steps (cosine)"""
    warmup_steps: int = identity("train", ge=0, unit="steps")
    """Steps over which the learning rate rises to training.lr; 0: none"""
    schedule_steps: int | None = identity("train", ge=1, unit="steps")
    """Step at which the cosine reaches its lowest rate, independent of training.max_steps; null
    with a constant schedule"""
    lowest_lr: float = identity("train", ge=0, le=1)
    """Lowest rate of the cosine, as a fraction of training.lr"""
    ema: float | None = identity(TRAIN, gt=0, lt=1)
    """Decay of the exponential moving average of the weights (0.999 is usual), which validations,
    checkpoints and predictions use. null: they use the weights themselves"""
    select_by: Literal["val_loss", "pds_l1", "pds_cosine", "delta_pearson"] = identity(TRAIN)
    """What makes a validation the best one: the lowest loss (val_loss), or the highest score of the
    predicted effects as cell-eval2 computes it: rank of the own effect by distance (pds_l1,
    pds_cosine) or correlation over genes (delta_pearson)"""
    early_stopping: int | None = extent("train", ge=1, unit="validations")
    """Validations without a new best (engine.select_by) after which training stops and writes
    final.ckpt; null: never"""
    nodes: int = operational(TRAIN, ge=1, unit="machines")
    """Machines that train together, each with training.devices; srun or torchrun starts the
    processes"""
    batch: Positive | Literal["auto"] | None = operational(TRAIN, unit="cell sets")
    """Cell sets that go through the model of a device at once; a larger step takes several passes
    and averages their gradients. auto: as many as fit into memory; null: all of a device's part"""
    compile: bool | Literal["auto"] = operational("train")
    """Compile the step; results are the same up to rounding. auto: on a GPU, unless it fails"""
    deterministic: bool = operational("train")
    """On a GPU, use slower algorithms that give the same bits each time; the CPU always does"""
    gpu_memory: float | None = operational("preflight", gt=0, unit="GB")
    """Memory of the GPU that will train, so that preflight can tell whether a step fits. null: that
    of the machine where preflight runs; without a GPU there, training is expected on the CPU"""
    gpu_cells: float | None = operational("train", ge=0, unit="GB")
    """Most GPU memory for the packed cells; if they don't fit, each step's cells are copied. null:
    what is free after the first steps, less a tenth of the total"""
    keep_checkpoints: int = operational("train", ge=1, unit="checkpoints")
    """Number of step checkpoints to keep, newest first; last, best and final are kept as well"""
    sampling: Literal["proportional", "uniform", "sqrt"] = identity("train")
    """How often an epoch visits each group of cells (a perturbation in a context): each cell once
    (proportional), all groups equally (uniform), or by the square root of the number of cells
    (sqrt). An epoch has about the same number of sets in each case"""
    downsample_cells: int | None = identity(f"{TRAIN} predict_baselines", ge=1, unit="cells")
    """Most training cells of a perturbation in a context (of one file), the same ones in every run;
    does not apply to the controls that predictions start from. null: all"""
    validation_sets: int = identity("train", ge=1, unit="cell sets")
    """Most cell sets that a validation uses, the same ones every time"""


class Prediction(Section):
    checkpoint: Text | Positive = identity("preflight predict predict_negative_controls")
    """Weights that predict: those of the last step (final), of the best validation (best, see
    engine.select_by), of a number of steps whose checkpoint is kept (engine.keep_checkpoints), or
    of an existing model (path of a model folder or a .ckpt), in which case nothing is trained"""
    ensemble: Items[Text] = identity("preflight predict predict_negative_controls")
    """Existing models (folders or .ckpt files), such as runs with other seeds; the prediction is
    the mean of theirs and that of prediction.checkpoint"""
    seed: Seed = identity(PREDICT)
    """Seed of the draw of the control cells that predictions start from, and of the features that
    some baselines shuffle"""
    cells: Literal["calibrated", "direct"] = identity(PREDICT)
    """Cells that are written: with the predicted mean of each gene and the shape of its values
    among the controls (calibrated), or those that the model predicts, and for baselines controls
    moved by the effect (direct); docs/predicting.md. Models of embeddings write their own"""
    draws: int = identity(PREDICT, ge=1, unit="draws")
    """Number of times that control cells are drawn for each predicted cell"""
    average_draws: bool = identity(PREDICT)
    """With several draws: write the mean of a cell's predictions (true; less noise, and less
    difference between cells), or one cell for each draw (false; obs column draw)"""
    clip: bool = identity(PREDICT)
    """Clip predicted values to log1p(cells.target_sum), the largest possible value; the number of
    clipped values is recorded"""
    output: Literal["log1p", "counts"] = identity(f"preflight {PREDICT} {SCORE}")
    """What is written: log1p of normalised counts, or integer counts rounded from them with the
    library size of the control that each cell is predicted from (docs/predicting.md)"""
    amplitude: Annotated[float, Field(ge=0)] | Literal["validation"] = identity(
        "preflight predict predict_negative_controls"
    )
    """Factor of the predicted effects of the model; validation: the factor that fits the validation
    cells best"""
    sets_per_pass: int = operational(PREDICT, ge=1, unit="cell sets")
    """Cell sets in a forward pass; changes memory and speed, not results"""
    baselines: Items[Baseline] = identity("predict_baselines evaluate")
    """Baselines to predict and score beside the model. Those named shuffled get the features of
    other perturbations (prediction.seed), to show what the features are worth"""
    negative_controls: Items[NegativeControl] = identity("predict_negative_controls evaluate")
    """Negative controls made from the model's predictions: with the features of other perturbations
    (shuffled_features) or random ones (random_features), with the same cells for all perturbations
    (same_cells), or with twice the variance between cells (doubled_variance). The report marks a
    run that one of them matches"""
    targets: NullableText = identity("targets")
    """Table (.csv or .tsv) of what to predict in place of the test split: columns perturbation (or
    data.kwargs.pert_col), context (or the column of contexts; absent: every context with controls)
    and n_cells. Predicted from the controls, and not scored"""
    adata: NullableText = identity("targets")
    """Cells (h5ad file, folder or glob) to predict from in place of those of the run. Without
    prediction.targets, its perturbed cells are predicted and scored; with it, only its controls are
    used. null: the cells of the run"""
    context_col: NullableText = identity("targets")
    """Column of the context in prediction.adata and prediction.targets; null:
    data.kwargs.cell_type_key"""
    cells_per_target: int | None = identity("targets", ge=1, unit="cells")
    """Cells to predict for each row of prediction.targets that does not state a number"""
    genes: NullableText = identity(f"preflight {PREDICT}")
    """Text file with one gene a line: predictions contain these genes only, in this order. null:
    all genes that are read"""
    submission: Literal["vcc2025", "vcc2026"] | None = identity("targets preflight submit")
    """File for a competition beside the predictions: vcc2025, the submission.vcc of cell-eval prep;
    vcc2026, the submission.h5ad of raw counts. null: none"""
    unknown_batch: NullableText = identity("preflight predict predict_negative_controls")
    """Technical batch to use for cells of a batch that the model was not trained on (each cell's
    prediction_note in obs states it). null: such cells are an error"""


class Evaluation(Section):
    preset: Literal["v2", "v1", "vcc2026", "cell-eval-0.7.6"] | None = identity(SCORE)
    """Preset of cell-eval2: how its metrics are computed. null: v2 for log1p values, vcc2026 for
    counts"""
    profile: Literal["minimal", "full", "de", "anndata", "vcc2026", "vcc", "pds"] | None = identity(
        SCORE
    )
    """Profile of cell-eval2: which metrics it computes. null: minimal for log1p values, vcc2026 for
    counts"""
    extra_metrics: Items[Text] = identity(SCORE)
    """Metrics of cell-eval2 in addition to those of the profile"""
    input_type: Literal["lognorm", "counts"] | None = identity(SCORE)
    """Scale of the cells that are scored, as cell-eval2 names it; null: that of
    prediction.output"""
    controls: Literal["observed", "predicted"] = identity(
        "predict predict_negative_controls anchors evaluate"
    )
    """Controls that predicted cells are compared with: the observed ones, or those that the model
    predicts from other controls. Baselines are always compared with the observed ones"""
    de_backend: Literal["pdex", "scanpy"] = identity(SCORE)
    """Program that tests for differential expression"""
    rival_known: Baseline = identity("evaluate")
    """Baseline that the model has to beat on perturbations that trained in other contexts"""
    rival_unseen: Baseline = identity("evaluate")
    """Baseline that the model has to beat on perturbations that were never trained on"""
    resamples: int = identity("evaluate", ge=0, unit="resamples")
    """Bootstrap resamples of the perturbations for the confidence intervals of scores and
    differences; 0: no intervals and no verdict"""


class Report(Section):
    title: NullableText = identity("report")
    """Heading of the report; null: the name of the run"""
    top_perturbations: int = identity("report", ge=1, unit="perturbations")
    """Number of perturbations with their own plot: those with the strongest observed effects"""


@with_unread("config")
class Config(Section):
    name: FolderName = operational("workflow train predict predict_negative_controls")
    """Name of the run; all its outputs lie in the folder output_dir/name"""
    output_dir: Folder = operational("workflow")
    """Folder that holds the runs; a relative path starts at the working directory"""
    use_wandb: bool = operational("train")
    """Log the training to Weights & Biases; without an API key, offline"""
    data: Data
    model: Model
    training: Training
    wandb: Wandb
    features: Features
    cells: Cells
    splits: Splits
    genes: Genes
    engine: Engine
    prediction: Prediction
    evaluation: Evaluation | None = None
    report: Report


class Compare(Section):
    replicates: Text | Items[Text] = operational("workflow")
    """Keys in which runs may differ and still count as replicates or folds, whose scores are
    combined when runs are compared"""


class Workflow(Section):
    """Keys of config/workflow.yaml: what a bare ``snakemake`` makes."""

    runs: Text | Items[Text] = operational("workflow")
    """Runs to make: names in config/runs or paths of run files, as a list or separated by commas"""
    overrides: str | list[Text] = operational("workflow")
    """Changes on top of every run, in Hydra's grammar, as a list or separated by spaces"""
    cache_dir: Text = operational("workflow")
    """Folder of the packed cells, which all runs share"""
    compare: Compare


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a section and of the sections in it, in their order."""
    for name, field in model.model_fields.items():
        key: Any = field.json_schema_extra
        if isinstance(key, Key):
            meaning = " ".join((field.description or "").split())
            yield replace(key, path=f"{prefix}{name}", meaning=meaning, section=model)
        else:
            # A section, or one that may be null.
            section, *_ = get_args(field.annotation) or (field.annotation,)
            yield from keys_of(section, f"{prefix}{name}.")


KEYS: Mapping[str, Key] = {key.path: key for key in keys_of(Config)}
"""All keys by dotted path, in the order of the reference."""

WORKFLOW_KEYS: Mapping[str, Key] = {key.path: key for key in keys_of(Workflow)}
"""The keys of config/workflow.yaml."""

SECTIONS = tuple(
    dict.fromkeys(path[:place] for path in KEYS for place, sign in enumerate(path) if sign == ".")
)
"""Dotted paths of all sections."""

OPTIONAL_SECTIONS = frozenset({"evaluation"})
"""Sections that may be null or absent: then the workflow leaves out what they are about."""


def find(path: str) -> Key | None:
    """Return the key of a dotted path, or the key around it that takes a mapping as a whole."""
    while path and path not in KEYS:
        path = path.rpartition(".")[0]
    return KEYS.get(path)


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted path, value)`` of a nested config, in its order.

    A mapping that a key takes as a whole is one leaf.
    """
    for name, value in config.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and path not in KEYS:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value
