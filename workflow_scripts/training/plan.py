"""What a training is asked to do, taken out of its slice of the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workflow_scripts.cells.epochs import Weighting
from workflow_scripts.settings.slices import Slice
from workflow_scripts.training.schedule import Schedule

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


def sets_of_step(settings: Slice) -> int:
    """Return the cell sets of a training step: of all its accumulated batches."""
    batches = settings.get("training.gradient_accumulation_steps") or 1
    return int(settings["training.batch_size"] * batches)


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides the weights at a given step, and how far to go.

    Attributes
    ----------
    model_kwargs
        ``model.kwargs`` of the slice, nested.
    output_space
        ``data.kwargs.output_space``.
    set_size
        Cells a set.
    sets_per_step
        Cell sets a step, over all devices.
    by_batch
        Controls come from the set's technical batch.
    yield_controls
        Sets of controls are targets too.
    map_controls
        A control set is predicted from other controls.
    weighting
        How often an epoch visits each group.
    most_cells
        Most cells of a perturbation in a context that train.
    lr, weight_decay
        Of AdamW.
    clip
        Largest gradient norm; 0 is no limit.
    seed
        Of weights, sampling and dropout.
    precision
        Lightning's name of the arithmetic, or auto.
    schedule
        How the learning rate goes.
    max_steps, val_freq, save_every
        Steps to train, between validations, between checkpoints.
    ema
        What stays of the weights' moving average in a step; None: none is taken.
    select_by
        What chooses the best validation: val_loss, or the name of a score.
    patience
        Validations that are no better after which training stops; None: it doesn't.
    validation_sets, validation_fraction
        Sets a validation looks at, at most, and as a part of all.
    """

    model_kwargs: Mapping[str, Any]
    output_space: str
    set_size: int
    sets_per_step: int
    by_batch: bool
    yield_controls: bool
    map_controls: bool
    weighting: Weighting
    most_cells: int | None
    lr: float
    weight_decay: float
    clip: float
    seed: int
    precision: Precision
    schedule: Schedule
    ema: float | None
    select_by: str
    patience: int | None
    max_steps: int
    val_freq: int
    save_every: int
    validation_sets: int
    validation_fraction: float

    @property
    def decoder_weight(self) -> float:
        """Weight of the gene decoder's loss beside that of the embedding."""
        return float(self.model_kwargs.get("decoder_loss_weight", 1.0))

    @classmethod
    def from_slice(cls, settings: Slice) -> TrainingPlan:
        """Take the plan out of the train slice."""
        return cls(
            model_kwargs=settings.section("model.kwargs"),
            output_space=settings["data.kwargs.output_space"],
            set_size=settings["model.kwargs.cell_set_len"],
            sets_per_step=sets_of_step(settings),
            by_batch=settings["data.kwargs.basal_mapping_strategy"] == "batch",
            yield_controls=settings["data.kwargs.should_yield_control_cells"],
            map_controls=settings["data.kwargs.map_controls"],
            weighting=settings["engine.sampling"],
            most_cells=settings["engine.downsample_cells"],
            lr=settings["training.lr"],
            weight_decay=settings["training.weight_decay"],
            clip=settings["training.gradient_clip_val"],
            seed=settings["training.train_seed"],
            precision=settings["engine.precision"],
            schedule=Schedule(
                settings["engine.schedule"],
                settings["engine.warmup_steps"],
                settings["engine.schedule_steps"],
                settings["engine.lowest_lr"],
            ),
            ema=settings["engine.ema"],
            select_by=settings["engine.select_by"],
            patience=settings["engine.early_stopping"],
            max_steps=settings["training.max_steps"],
            val_freq=settings["training.val_freq"],
            save_every=settings["training.ckpt_every_n_steps"],
            validation_sets=settings["engine.validation_sets"],
            validation_fraction=settings.get("data.kwargs.val_subsample_fraction") or 1.0,
        )

    @classmethod
    def of_size(cls, settings: Slice) -> TrainingPlan:
        """Take a plan of the same size out of the preflight slice.

        That slice lacks what changes neither memory nor the number of steps, so that another
        learning rate asks for no other check: stand-ins take their place.
        """
        return cls(
            model_kwargs=settings.section("model.kwargs"),
            output_space=settings["data.kwargs.output_space"],
            set_size=settings["model.kwargs.cell_set_len"],
            sets_per_step=sets_of_step(settings),
            by_batch=settings["data.kwargs.basal_mapping_strategy"] == "batch",
            yield_controls=settings["data.kwargs.should_yield_control_cells"],
            map_controls=True,
            weighting="proportional",
            most_cells=settings["engine.downsample_cells"],
            lr=1.0,
            weight_decay=0.0,
            clip=1.0,
            seed=0,
            precision=settings["engine.precision"],
            schedule=Schedule(),
            ema=settings["engine.ema"],
            select_by=settings["engine.select_by"],
            patience=None,
            max_steps=settings["training.max_steps"],
            val_freq=1,
            save_every=1,
            validation_sets=1,
            validation_fraction=1.0,
        )

    def validates_at(self, step: int) -> bool:
        """Tell whether a validation follows the optimizer step number ``step`` (from 1)."""
        return step % self.val_freq == 0

    def stops_at(self, step: int, best_step: int) -> bool:
        """Tell whether training stops after the validation that follows ``step``."""
        return self.patience is not None and step - best_step >= self.patience * self.val_freq

    def last_step(self, validations: Mapping[int, float]) -> int:
        """Return the step that training ends with, as far as its validations say.

        Parameters
        ----------
        validations
            Badness of each validation so far (`validating.badness`), by its step, in order.
        """
        best_step, best = 0, math.inf
        for step, badness in validations.items():
            if badness < best:
                best_step, best = step, badness
            if step <= self.max_steps and self.stops_at(step, best_step):
                return step
        return self.max_steps

    def saves_at(self, step: int) -> bool:
        """Tell whether a checkpoint is due after ``step``."""
        return step % self.save_every == 0 or step == self.max_steps
