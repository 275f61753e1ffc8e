"""Keys of what follows training: how a model predicts, is scored and reported."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import LARGEST_SEED, Key, identity, operational

FEATURE_BASELINES = ("ridge", "ridge_shuffled", "nearest_neighbour", "nearest_neighbour_shuffled")
"""The baselines that read the perturbations' features."""

BASELINES = (
    "control",
    "mean_response",
    "context_mean",
    "perturbation_mean_effect",
    "additive",
    *FEATURE_BASELINES,
)
"""The baselines there are."""

SPOILED_FEATURES = ("shuffled_features", "random_features")
"""Ways to unmask a model that predicts with them in place of the true features."""

UNMASKING = (*SPOILED_FEATURES, "same_cells", "doubled_variance")
"""Predictions that would do as well as a model's if it knew nothing."""

LOG1P, COUNTS = SCALES = ("log1p", "counts")
"""The scales that predictions are written on."""

VALIDATION = "validation"
"""What ``prediction.amplitude`` is where it is fitted."""

KEYS: tuple[Key, ...] = (
    identity(
        "prediction.checkpoint",
        (str, int),
        "preflight predict predict_unmasking",
        "Which weights predict: those of the last step (final), those with the best validation "
        "(best, by engine.select_by), those after a number of steps, of which a checkpoint is kept "
        "(engine.keep_checkpoints), or those of a model that is there already, of which this is "
        "the path (a model folder or a .ckpt): then nothing is trained",
        "用于预测的权重:最后一步(final)、验证最佳(best,由 engine.select_by 决定)、某一步数的"
        "检查点(须由 engine.keep_checkpoints 保留),"
        "或已有模型的路径(模型目录或 .ckpt),此时不进行训练",
        at_least=1,
    ),
    identity(
        "prediction.ensemble",
        list,
        "preflight predict predict_unmasking",
        "Models that are there already (folders or .ckpt files), such as other runs' with another "
        "seed: what is predicted is the mean of theirs and that of prediction.checkpoint",
        "已有的其他模型(目录或 .ckpt 文件,例如不同随机种子的运行):"
        "预测结果取它们与 prediction.checkpoint 的平均",
        items=str,
    ),
    identity(
        "prediction.seed",
        int,
        "predict predict_baselines predict_unmasking",
        "Seed of the draw of the control cells that predictions start from, and of the features "
        "that are permuted for some baselines",
        "预测时抽取对照细胞的随机种子,也用于部分基线打乱扰动特征",
        at_least=0,
        at_most=LARGEST_SEED,
    ),
    identity(
        "prediction.draws",
        int,
        "predict predict_baselines predict_unmasking",
        "How often control cells are drawn for each predicted cell",
        "为每个预测细胞抽取对照细胞的次数",
        at_least=1,
        unit="draws",
    ),
    identity(
        "prediction.average_draws",
        bool,
        "predict predict_baselines predict_unmasking",
        "Of several draws: write the mean of a cell's predictions (true: less noise, and less "
        "difference between cells), or a cell of each draw (false: so many times the cells, obs "
        "column draw)",
        "多次抽取时:true 表示写出每个细胞预测的平均值(噪声更小,细胞间差异也更小),"
        "false 表示每次抽取各写一个细胞(obs 的 draw 列)",
    ),
    identity(
        "prediction.clip",
        bool,
        "predict predict_baselines predict_unmasking",
        "Cut predicted values at log1p(cells.target_sum), the largest there can be; how many were "
        "cut is recorded",
        "是否把预测值截断到可能的最大值 log1p(cells.target_sum);截断数量会被记录",
    ),
    identity(
        "prediction.output",
        str,
        "preflight predict predict_baselines predict_unmasking reference_ends evaluate",
        "What is written: log1p of normalised counts, or integer counts drawn from them, with the "
        "library size of the control that each cell is predicted from (docs/predicting.md)",
        "写出的数值:归一化后的 log1p 值,或由其抽取的整数计数(文库大小取自对应的对照细胞)",
        choices=SCALES,
    ),
    identity(
        "prediction.count_distribution",
        str,
        "predict predict_baselines predict_unmasking",
        "Distribution that counts are drawn from: Poisson, or negative binomial with the "
        "dispersion of each gene among the controls",
        "抽取计数所用的分布:泊松,或负二项(离散度按基因由对照细胞估计)",
        choices=("poisson", "negative_binomial"),
    ),
    identity(
        "prediction.denoise",
        bool,
        "predict predict_baselines predict_unmasking",
        "Draw counts from the mean profile of each cell set, so that the noise of the control "
        "cells, which a prediction from them has already, is not added once more",
        "从每个细胞集合的平均谱抽取计数,避免重复加入对照细胞自身的噪声",
    ),
    identity(
        "prediction.amplitude",
        float,
        "preflight predict predict_unmasking",
        "Factor of the model's predicted effects; validation: the one that fits the validation "
        "cells best",
        "模型预测效应的缩放系数;validation 表示用验证集拟合",
        words=(VALIDATION,),
        at_least=0,
    ),
    operational(
        "prediction.sets_per_pass",
        int,
        "predict predict_baselines predict_unmasking",
        "Cell sets in a forward pass: memory and speed, not results",
        "一次前向计算的细胞集合数;只影响内存与速度",
        at_least=1,
        unit="cell sets",
    ),
    identity(
        "prediction.baselines",
        list,
        "predict_baselines evaluate",
        "Baselines to predict and score beside the model; those named shuffled get the features of "
        "the perturbations permuted by prediction.seed, to show what features are worth",
        "与模型一同预测和评分的基线;名称带 shuffled 的基线使用按 prediction.seed "
        "在各扰动间打乱的特征,用来衡量特征本身的作用",
        items=str,
        choices=BASELINES,
    ),
    identity(
        "prediction.unmasking",
        list,
        "predict_unmasking evaluate",
        "What is made of the model's predictions to see whether a score means anything: with the "
        "features of other perturbations (shuffled_features) or none (random_features), with the "
        "same cells for all perturbations (same_cells), with twice the variance between cells "
        "(doubled_variance). The report marks a run that one of them matches",
        "用于揭示得分是否有意义的对照预测:使用其他扰动的特征(shuffled_features)、随机特征"
        "(random_features)、所有扰动使用同样的细胞(same_cells)、细胞间方差加倍"
        "(doubled_variance);若与模型得分相当,报告会标出",
        items=str,
        choices=UNMASKING,
    ),
    identity(
        "evaluation.preset",
        str,
        "reference_ends evaluate",
        "Preset of cell-eval2: how its metrics are computed. null: v2 for log1p values, vcc2026 "
        "for counts",
        "cell-eval2 的预设,决定指标的计算方式;null 表示 log1p 值用 v2,计数用 vcc2026",
        nullable=True,
        choices=("v2", "v1", "vcc2026", "cell-eval-0.7.6"),
    ),
    identity(
        "evaluation.profile",
        str,
        "reference_ends evaluate",
        "Profile of cell-eval2: the metrics to start from. null: minimal for log1p values, vcc2026 "
        "for counts",
        "cell-eval2 的指标组合;null 表示 log1p 值用 minimal,计数用 vcc2026",
        nullable=True,
        choices=("minimal", "full", "de", "anndata", "vcc2026", "vcc", "pds"),
    ),
    identity(
        "evaluation.extra_metrics",
        list,
        "reference_ends evaluate",
        "Metrics of cell-eval2 beside those of the profile",
        "在 profile 之外增加的 cell-eval2 指标",
        items=str,
    ),
    identity(
        "evaluation.input_type",
        str,
        "reference_ends evaluate",
        "Scale of the cells that are scored, in cell-eval2's words. null: that of "
        "prediction.output",
        "评分所用的数值尺度(cell-eval2 的叫法);null 表示与 prediction.output 一致",
        nullable=True,
        choices=("lognorm", "counts"),
    ),
    identity(
        "evaluation.controls",
        str,
        "predict predict_unmasking reference_ends evaluate",
        "Controls that predicted cells are held against: the observed ones, or those that the "
        "model predicts from other controls. Baselines predict no controls, and have the observed "
        "ones",
        "预测细胞的参照对照:观测到的对照细胞,或由模型预测的对照细胞(基线始终使用观测对照)",
        choices=("observed", "predicted"),
    ),
    identity(
        "evaluation.de_backend",
        str,
        "reference_ends evaluate",
        "Program that tests for differential expression",
        "差异表达检验所用的程序",
        choices=("pdex", "scanpy"),
    ),
    identity(
        "evaluation.resamples",
        int,
        "evaluate",
        "How often perturbations are drawn anew for the intervals of scores and differences "
        "(bootstrap); 0: no intervals, and no verdict",
        "计算得分与差异的置信区间时对扰动重抽样(bootstrap)的次数;0 表示不计算,报告也不下结论",
        at_least=0,
        unit="resamples",
    ),
    identity(
        "report.title",
        str,
        "report",
        "Heading of the report; null: the run's name",
        "报告标题;null 表示使用运行名称",
        nullable=True,
    ),
    identity(
        "report.top_perturbations",
        int,
        "report",
        "Perturbations with a plot of their own: those with the strongest observed effects",
        "单独作图的扰动数(按观测效应从强到弱)",
        at_least=1,
        unit="perturbations",
    ),
)
