"""Keys of what is predicted, where it isn't the test split."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import Key, identity
from workflow_scripts.settings.schema.submissions import CHALLENGES
from workflow_scripts.settings.schema.submissions import KEY as SUBMISSION

WRITTEN_GENES = "prediction.genes"
"""Key of the list of genes that predictions are written of."""

KEYS: tuple[Key, ...] = (
    identity(
        "prediction.targets",
        str,
        "targets",
        "Table (.csv or .tsv) of what to predict, in place of the test split: columns perturbation "
        "(or data.kwargs.pert_col), context (or the column of contexts; without it: every context "
        "that has controls) and n_cells. Predicted from the controls alone, and not scored",
        "要预测内容的表格(.csv 或 .tsv),替代测试集:列为 perturbation、context、n_cells;"
        "仅从对照细胞预测,不评分",
        nullable=True,
    ),
    identity(
        "prediction.adata",
        str,
        "targets",
        "Cells (h5ad file, folder or glob) to predict from, in place of those of the run: without "
        "prediction.targets its perturbed cells are predicted and scored, with it its controls "
        "alone are used. null: the cells of the run",
        "用于预测的细胞文件(h5ad),替代本次运行的数据;未给出 prediction.targets 时预测并评分其中"
        "受扰动的细胞,否则只使用其对照细胞",
        nullable=True,
    ),
    identity(
        "prediction.context_col",
        str,
        "targets",
        "Column of the context in prediction.adata and prediction.targets; null: "
        "data.kwargs.cell_type_key",
        "prediction.adata 与 prediction.targets 中表示细胞类型的列名;null 表示 "
        "data.kwargs.cell_type_key",
        nullable=True,
    ),
    identity(
        "prediction.cells_per_target",
        int,
        "targets",
        "Cells to predict for each target and context of prediction.targets whose table doesn't "
        "say how many",
        "prediction.targets 未写明时,每个扰动与细胞类型组合要预测的细胞数",
        nullable=True,
        at_least=1,
        unit="cells",
    ),
    identity(
        WRITTEN_GENES,
        str,
        "preflight predict predict_baselines predict_unmasking",
        "Text file, a gene a line: predictions are written of these genes alone, in this order. "
        "null: of all that are read, in their order",
        "基因列表文件(每行一个):只按此顺序写出这些基因;null 表示全部",
        nullable=True,
    ),
    identity(
        SUBMISSION,
        str,
        "targets preflight submit",
        "File for a competition beside the predictions: vcc2025, the submission.vcc that cell-eval "
        "prep makes; vcc2026, the submission.h5ad of raw counts. null: none",
        "另外写出竞赛提交文件:vcc2025 为 cell-eval prep 生成的 submission.vcc,"
        "vcc2026 为原始计数的 submission.h5ad;null 表示不写",
        nullable=True,
        choices=tuple(CHALLENGES),
    ),
    identity(
        "prediction.unknown_batch",
        str,
        "preflight predict predict_unmasking",
        "Technical batch in whose place the model takes cells of a batch that it was not trained "
        "on (noted for each cell in obs: prediction_note); null: such cells are an error",
        "遇到模型未训练过的技术批次时,改用此批次的编码(在 obs 的 prediction_note 中注明);"
        "null 表示报错",
        nullable=True,
    ),
)
