"""What is wrong with predicted effects, beyond how far off they are: too small, or all the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float64


def diagnose(effects: pd.DataFrame) -> dict[str, float | None]:
    """Compare the predicted effects of one context with the observed ones as a whole.

    Parameters
    ----------
    effects
        From `mean_effects`: a row a perturbation and gene, perturbations one after the other.

    Returns
    -------
    amplitude_slope
        Least-squares slope through the origin of predicted on observed effects, over all genes and
        perturbations: Σop / Σo². 1: of the right size; 0.5: half as large as observed (or rightly
        large and half in the wrong places); 0: none. Noise of the observed means lowers it.
    collapse_index
        Variance between perturbations of the predicted effects by that of the observed ones, summed
        over genes. 0: one profile for all perturbations; 1: as different from one another as
        observed, where the noise of the observed means counts as difference.

    None where nothing was observed that could be compared with: no effect, a single perturbation.
    """
    n_perturbations = len(effects["perturbation"].cat.categories)
    observed, predicted = (
        effects[f"{side}_effect"].to_numpy(np.float64).reshape(n_perturbations, -1)
        for side in ("observed", "predicted")
    )
    size, spread = float((observed**2).sum()), _between(observed)
    return {
        "amplitude_slope": float((observed * predicted).sum()) / size if size else None,
        "collapse_index": _between(predicted) / spread if spread else None,
    }


def _between(effects: Float64[np.ndarray, "perturbations genes"]) -> float:
    return float(((effects - effects.mean(axis=0)) ** 2).sum())
