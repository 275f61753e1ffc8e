"""What the page tells of a training: its course, what it took, and the starts that it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.reporting.costs import device_seconds
from workflow_scripts.reporting.figures import course_curves, loss_curves, score_curves
from workflow_scripts.reporting.inputs import VALIDATION_SCORES
from workflow_scripts.reporting.words import counted, metric_words, number
from workflow_scripts.settings.findings import size

_ENDED = {
    "finished": "reached its last step",
    "stopped": "was asked to stop, and kept its state",
    "failed": "failed: its log says why",
}
_KILLED = "was killed"


def trained(training: pd.DataFrame | None, starts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the section on the training shows; nothing where there was none."""
    if training is None:
        return {
            "loss": None,
            "course": None,
            "validation_scores": None,
            "training": [],
            "starts": [],
        }
    return {
        "loss": loss_curves(training),
        "course": course_curves(training),
        "validation_scores": score_curves(training),
        "training": [*_learned(training), *_took(training, starts)],
        "starts": start_rows(starts),
    }


def start_rows(starts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return a line for each start: when, from where to where, on what, and how it ended."""
    rows = []
    for place, start in enumerate(starts):
        began = datetime.fromisoformat(start["began"]).strftime("%Y-%m-%d %H:%M")
        to = f"{start['to_step']:,}" if "to_step" in start else "?"
        steps = f"{start['from_step']:,} → {to}"
        if start["repeats"]:
            steps += f", {counted(start['repeats'], 'step')} of them for the second time"
        where = start["device"]
        if start["processes"] > 1:
            where = f"{start['processes']} × {where}"
        how = _ENDED.get(start.get("ended", ""), _KILLED)
        if "ended" not in start and place == len(starts) - 1:
            how = "has left no word of its end"
        rows.append((began, steps, f"{where} ({start['host']})", how))
    return rows


def _learned(training: pd.DataFrame) -> list[tuple[str, str]]:
    """Return what the loss curves don't say exactly."""
    if training.empty:
        return []
    facts = [("Last logged step", f"{int(training['step'].iloc[-1]):,}")]
    losses = training.loc[np.isfinite(training["train_set_loss"]), "train_set_loss"]
    if len(losses):
        tail = losses.tail(max(1, len(losses) // 20))
        words = f"{number(losses.iloc[0])} at first, {number(tail.mean())} at the end"
        facts.append(("Training loss", f"{words} (mean of the last {len(tail):,} logged)"))
    broken = ~np.isfinite(training["train_set_loss"]) & training["val_loss"].isna()
    if broken.any():
        facts.append(("Logged steps without a finite loss", f"{int(broken.sum()):,}"))
    validated = training.dropna(subset="val_loss")
    if len(validated):
        best = validated.sort_values("val_loss", kind="stable").iloc[0]
        words = f"{number(best['val_loss'])} at step {int(best['step']):,}"
        facts.append(("Lowest validation loss", words))
        facts.append(("Last validation loss", number(validated["val_loss"].iloc[-1])))
    for column in VALIDATION_SCORES:
        scored = training.dropna(subset=column)
        if len(scored):
            best = scored.sort_values(column, ascending=False, kind="stable").iloc[0]
            words = f"{number(best[column])} at step {int(best['step']):,}"
            facts.append((f"Highest {_score_words(column)} in validation", words))
    return facts


def _took(training: pd.DataFrame, starts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what the training took of its machine."""
    if training.empty:
        return []
    seconds, waiting = training["seconds"].sum(), training["waiting"].sum()
    facts = [("Time in these steps", f"{seconds:,.0f} s, validations not counted")]
    if seconds + waiting > 0:
        share = f"{waiting / (seconds + waiting):.1%} of the time"
        facts.append(("Waiting for cells", f"{share} ({waiting:,.1f} s)"))
    pace = training["cells_per_second"].median()
    if np.isfinite(pace):
        facts.append(("Pace", f"{pace:,.0f} cells a second (median of the steps)"))
    used = training["mfu"].median()
    if np.isfinite(used):
        facts.append(
            ("Use of the device", f"{used:.0%} of the rate that it reaches in a large product")
        )
    memory = training["memory"].max()
    if np.isfinite(memory):
        kind = "GPU" if device_seconds(starts)[1] else "host"
        facts.append(("Most memory", f"{size(int(memory))} ({kind})"))
    return facts


def _score_words(column: str) -> str:
    name = metric_words(column.removeprefix("val_")).name
    return name[0].lower() + name[1:]
