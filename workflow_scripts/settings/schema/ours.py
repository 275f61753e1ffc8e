"""Keys of the sections that Stateline adds to those of the field's files."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import LARGEST_SEED, Key, identity, operational

BASELINES = ("control", "mean_response", "perturbation_mean_effect")
"""The baselines there are."""

KEYS: tuple[Key, ...] = (
    identity(
        "features.control",
        str,
        "features",
        "Feature vector of the control: the one in the file (given), zeros, or the mean of the "
        "others (mean)",
        "对照的特征向量:文件中给出(given)、全零(zeros)或其余向量的均值(mean)",
        choices=("given", "zeros", "mean"),
    ),
    identity(
        "features.missing",
        str,
        "features",
        "A perturbation of the data without a vector: stop (error), embed its protein (embed), or "
        "the mean of the others, or zeros (zero); the report names each",
        "数据中没有特征向量的扰动:停止(error)、由蛋白序列计算(embed)、用其余向量的均值(mean)或全零(zero);"
        "报告会逐一列出",
        choices=("error", "embed", "mean", "zero"),
    ),
    identity(
        "features.embedding.model",
        str,
        "features",
        "ESM2 model that embeds proteins: a folder, or a name on the hub such as "
        "facebook/esm2_t36_3B_UR50D",
        "计算蛋白特征的 ESM2 模型:本地目录或 hub 上的名称",
        nullable=True,
    ),
    identity(
        "features.embedding.fasta",
        str,
        "features",
        "Protein sequences (FASTA, .gz too) with the gene symbol in the header: GN=, gene_symbol:, "
        "[gene=] or the first word; of several isoforms the longest is taken",
        "蛋白序列(FASTA,可为 .gz),标题中含基因符号(GN=、gene_symbol:、[gene=] 或首个单词);"
        "多个异构体取最长者",
        nullable=True,
    ),
    identity(
        "features.embedding.window",
        int,
        "features",
        "Residues that the model sees at once; longer proteins are read in windows that begin half "
        "a window apart, and a residue's state is the mean over the windows that hold it",
        "模型一次读取的残基数;更长的蛋白按半窗重叠分窗读取,残基状态取所在各窗的均值",
        at_least=64,
        unit="residues",
    ),
    identity(
        "features.embedding.precision",
        str,
        "features",
        "Precision of the protein model",
        "蛋白模型的数值精度",
        choices=("32-true", "bf16-true"),
    ),
    identity(
        "features.combinations",
        str,
        "features",
        "A combination A+B without a vector of its own: stop (error), or the sum or the mean of "
        "its parts' vectors; the control among its parts is left out",
        "没有自身向量的组合扰动 A+B:停止(error),或取各组成部分向量之和(sum)或均值(mean);"
        "其中的对照不计",
        choices=("error", "sum", "mean"),
    ),
    identity(
        "features.aliases",
        dict,
        "features",
        "Other names: label in the data: name in the feature file",
        "别名:数据中的标签: 特征文件中的名称",
    ),
    identity(
        "features.stand_in",
        bool,
        "features",
        "The feature file holds no real protein features; every report then says so",
        "特征文件是否只是替代品(并非真实蛋白特征);报告会注明",
    ),
    identity(
        "cells.datasets",
        dict,
        "cells",
        "Files of each dataset, as name: file, folder or glob (or a list of them); null: the "
        "[datasets] of the split file",
        "各数据集的文件:名称: 文件、目录或通配符(可为列表);null 表示取划分文件的 [datasets]",
        nullable=True,
    ),
    identity(
        "cells.values",
        str,
        "cells",
        "What X holds: raw counts, log1p of normalised counts, or auto: found by looking, and "
        "recorded",
        "X 的内容:原始计数(counts)、归一化后的 log1p 值(log1p),或自动识别并记录(auto)",
        choices=("auto", "counts", "log1p"),
    ),
    identity(
        "cells.layer",
        str,
        "cells",
        "Layer that is read in place of X",
        "代替 X 读取的 layer",
        nullable=True,
    ),
    identity(
        "cells.genes",
        str,
        "cells",
        "Genes of several files: the same in all of them (same), or those of every file are kept "
        "(intersection); counts are scaled by the sum over the kept ones",
        "多个文件的基因:必须相同(same),或只保留各文件共有的基因(intersection);计数按保留基因之和归一化",
        choices=("same", "intersection"),
    ),
    identity(
        "cells.gene_names",
        str,
        "cells",
        "Column of var with the genes' names, or index; null: gene_name where there is one, or "
        "else the index",
        "var 中基因名称所在的列,或 index;null 表示优先 gene_name 列,否则取索引",
        nullable=True,
    ),
    identity(
        "cells.target_sum",
        float,
        "cells",
        "Sum that the counts of a cell are scaled to before log1p",
        "log1p 之前每个细胞归一化到的总计数",
        at_least=1,
        unit="counts",
    ),
    identity(
        "splits.validation",
        str,
        "splits",
        "Where the validation perturbations come from: the split file (from_toml), or a draw from "
        "those of training (from_train)",
        "验证扰动的来源:划分文件(from_toml)或从训练扰动中抽取(from_train)",
        choices=("from_toml", "from_train"),
    ),
    identity(
        "splits.validation_fraction",
        float,
        "splits",
        "Share of a context's training perturbations that from_train draws",
        "from_train 从每个细胞背景的训练扰动中抽取的比例",
        above=0,
        below=1,
    ),
    identity(
        "splits.overlap",
        str,
        "splits",
        "What to do with a perturbation that the split file has both in val and in test: stop "
        "(error), or test on it (test_wins)",
        "划分文件中同时出现在 val 与 test 的扰动:报错(error)或归入测试(test_wins)",
        choices=("error", "test_wins"),
    ),
    identity(
        "splits.seed",
        int,
        "splits",
        "Seed of the draw of validation perturbations",
        "抽取验证扰动的随机种子",
        at_least=0,
        at_most=LARGEST_SEED,
    ),
    identity(
        "engine.precision",
        str,
        "train",
        "Arithmetic of a training step, in Lightning's names; auto: bf16-mixed where the GPU has "
        "it, else 32-true",
        "训练的数值精度(Lightning 的名称);auto 表示 GPU 支持时用 bf16-mixed,否则 32-true",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed"),
    ),
    operational(
        "engine.keep_checkpoints",
        int,
        "train",
        "Step checkpoints that stay, the newest ones; last, best and final stay as well",
        "保留的最新步检查点个数;last、best 与 final 另外保留",
        at_least=1,
        unit="checkpoints",
    ),
    identity(
        "engine.validation_sets",
        int,
        "train",
        "Cell sets that a validation looks at, at most; the same ones every time",
        "每次验证最多使用的细胞集合数;各次相同",
        at_least=1,
        unit="cell sets",
    ),
    identity(
        "prediction.checkpoint",
        str,
        "predict",
        "Which weights predict: those of the last step (final), or those with the lowest "
        "validation loss (best)",
        "用于预测的权重:最后一步(final)或验证损失最低(best)",
        choices=("final", "best"),
    ),
    identity(
        "prediction.seed",
        int,
        "predict predict_baselines",
        "Seed of the draw of the control cells that predictions start from",
        "预测时抽取对照细胞的随机种子",
        at_least=0,
        at_most=LARGEST_SEED,
    ),
    identity(
        "prediction.clip",
        bool,
        "predict predict_baselines",
        "Cut predicted values at log1p(cells.target_sum), the largest there can be; how many were "
        "cut is recorded",
        "是否把预测值截断到可能的最大值 log1p(cells.target_sum);截断数量会被记录",
    ),
    operational(
        "prediction.sets_per_pass",
        int,
        "predict predict_baselines",
        "Cell sets in a forward pass: memory and speed, not results",
        "一次前向计算的细胞集合数;只影响内存与速度",
        at_least=1,
        unit="cell sets",
    ),
    identity(
        "prediction.baselines",
        list,
        "predict_baselines evaluate",
        "Baselines to predict and score beside the model",
        "与模型一同预测和评分的基线",
        items=str,
        choices=BASELINES,
    ),
    identity(
        "evaluation.preset",
        str,
        "evaluate",
        "Preset of cell-eval2: how its metrics are computed. vcc2026 is for raw counts",
        "cell-eval2 的预设,决定指标的计算方式;vcc2026 用于原始计数",
        choices=("v2", "v1", "vcc2026", "cell-eval-0.7.6"),
    ),
    identity(
        "evaluation.profile",
        str,
        "evaluate",
        "Profile of cell-eval2: the metrics to start from",
        "cell-eval2 的指标组合",
        choices=("minimal", "full", "de", "anndata", "vcc2026", "vcc", "pds"),
    ),
    identity(
        "evaluation.extra_metrics",
        list,
        "evaluate",
        "Metrics of cell-eval2 beside those of the profile",
        "在 profile 之外增加的 cell-eval2 指标",
        items=str,
    ),
    identity(
        "evaluation.input_type",
        str,
        "evaluate",
        "Scale of the cells that are scored: log1p of normalised counts (lognorm), the one scale "
        "that this version predicts",
        "评分所用的数值尺度:归一化后的 log1p 值(lognorm),本版本只有这一种",
        choices=("lognorm",),
    ),
    identity(
        "evaluation.de_backend",
        str,
        "evaluate",
        "Program that tests for differential expression",
        "差异表达检验所用的程序",
        choices=("pdex", "scanpy"),
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
