"""The metrics that ``evaluation.extra_metrics`` may name: those of cell-eval2 0.20.

Written down here, so that a config is checked without loading the scorer.
"""

from __future__ import annotations

from collections.abc import Mapping

V1_NAMES: Mapping[str, str] = {
    "mae": "expr_mae",
    "mse": "expr_mse",
    "mae_delta": "delta_mae",
    "mse_delta": "delta_mse",
    "pearson_delta": "delta_pearson",
    "discrimination_score_l1": "pds_l1",
    "discrimination_score_l2": "pds_l2",
    "discrimination_score_cosine": "pds_cosine",
    "overlap_at_N": "de_wilcoxon_overlap",
    "overlap_at_50": "de_wilcoxon_overlap_top50",
    "overlap_at_100": "de_wilcoxon_overlap_top100",
    "overlap_at_200": "de_wilcoxon_overlap_top200",
    "overlap_at_500": "de_wilcoxon_overlap_top500",
    "precision_at_N": "de_wilcoxon_precision",
    "precision_at_50": "de_wilcoxon_precision_top50",
    "precision_at_100": "de_wilcoxon_precision_top100",
    "precision_at_200": "de_wilcoxon_precision_top200",
    "precision_at_500": "de_wilcoxon_precision_top500",
    "de_nsig_counts_real": "de_wilcoxon_nsig_counts_real",
    "de_nsig_counts_pred": "de_wilcoxon_nsig_counts_pred",
    "de_spearman_sig": "de_wilcoxon_nsig_spearman",
    "de_sig_genes_recall": "de_wilcoxon_sig_recall",
    "de_direction_match": "de_wilcoxon_direction_match",
    "de_model_direction_match": "de_wilcoxon_model_direction_match",
    "de_spearman_lfc_sig": "de_wilcoxon_lfc_spearman",
    "de_spearman_pos_lfc_sig": "de_wilcoxon_lfc_spearman_pos",
    "de_spearman_neg_lfc_sig": "de_wilcoxon_lfc_spearman_neg",
    "pr_auc": "de_wilcoxon_pr_auc",
    "roc_auc": "de_wilcoxon_roc_auc",
}
"""The first version's metrics: their names there, and their names now. Either may be given."""

_SINCE_V2 = (
    *("expr_mse_unbiased", "expr_mse_unbiased_capped", "expr_mse_unbiased_capped_norm"),
    *("expr_distance_unbiased", "expr_real_mass_ratio"),
    *("cell_cov_ccc", "cell_cov_corr", "cell_cov_eig_ratio"),
)
_DE_SINCE_V2 = (
    *("direction_coverage", "direction_precision", "direction_sensitivity"),
    *("direction_sensitivity_universe", "direction_fidelity", "direction_fidelity_raw"),
    *("direction_fidelity_yield", "direction_fidelity_yield_raw"),
    *("direction_yield", "direction_yield_raw", "direction_reach", "direction_reach_raw"),
    *("direction_reach_unbounded", "direction_reach_unbounded_raw"),
    *("lfc_nmae", "overlap_adjusted", "precision_adjusted"),
    *("sig_jaccard", "sig_mcc", "sig_recall_adjusted"),
)
_WILCOXON, _DESEQ2 = "de_wilcoxon_", "de_deseq2_"

METRICS: tuple[str, ...] = tuple(
    sorted(
        {
            *V1_NAMES.values(),
            *_SINCE_V2,
            *(_WILCOXON + name for name in _DE_SINCE_V2),
            *(_DESEQ2 + name for name in _DE_SINCE_V2),
            *(
                name.replace(_WILCOXON, _DESEQ2)
                for name in V1_NAMES.values()
                if name.startswith(_WILCOXON)
            ),
        }
    )
)
"""All metrics, by their names now."""

V1_PRESETS = frozenset({"v1", "cell-eval-0.7.6"})
"""Presets that compute as the first version did: they have its metrics alone."""
