"""Keys of our own sections of the inputs: features, cells and splits."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import LARGEST_SEED, Key, identity

LEAVE_OUT = "splits.leave_out"

EACH_CONTEXT = "each_context"
"""In its place: every context in turn, a run for each."""

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
        "cells preflight",
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
        "splits.test",
        str,
        "splits",
        "What is tested: what the split file holds out (from_toml), or nothing (none): all of it "
        "trains, and nothing is predicted or scored",
        "测试哪些:划分文件留出的部分(from_toml),或都不测试(none):全部用于训练,不预测也不评分",
        choices=("from_toml", "none"),
    ),
    identity(
        "splits.held_out_controls",
        str,
        "splits",
        "Controls of a context of which no perturbed cell trains: they are targets of training as "
        "those of the others are (share), or stay out of it and only start predictions (keep_out)",
        "没有任何受扰动细胞参与训练的细胞背景,其对照细胞:同样作为训练目标(share),"
        "或不参与训练、仅作为预测的起点(keep_out)",
        choices=("share", "keep_out"),
    ),
    identity(
        "splits.make.contexts",
        list,
        "splits",
        "Contexts, as dataset.context, of which perturbations are drawn for test and validation; "
        "the split that was drawn is written to splits.toml in the run's folder. null: none",
        "从哪些细胞背景(数据集.细胞背景)抽取测试与验证扰动;抽取结果写入运行目录的 splits.toml;"
        "null 表示不抽取",
        nullable=True,
        items=str,
    ),
    identity(
        "splits.make.test",
        float,
        "splits",
        "Share of a context's perturbations that splits.make draws for test, alike from those with "
        "many and with few cells",
        "splits.make 从每个细胞背景抽取为测试的扰动比例(按细胞数分层)",
        above=0,
        below=1,
    ),
    identity(
        "splits.make.validation",
        float,
        "splits",
        "Share of a context's perturbations that splits.make draws for validation",
        "splits.make 从每个细胞背景抽取为验证的扰动比例",
        above=0,
        below=1,
    ),
    identity(
        LEAVE_OUT,
        str,
        "splits",
        "Context, as dataset.context, all of whose perturbed cells are tested, while those of the "
        "others train, whatever the split file tests of them; each_context: one run for each of "
        "them (cross-validation). null: what is tested is said elsewhere",
        "整体留作测试的细胞背景(数据集.细胞背景),其余细胞背景用于训练(忽略划分文件中的测试部分);"
        "each_context 表示每个细胞背景各运行一次(交叉验证);null 表示由其他设置决定",
        nullable=True,
    ),
    identity(
        "splits.least_cells",
        int,
        "splits",
        "Perturbations with fewer cells in a context are left out there",
        "某细胞背景中细胞数少于此值的扰动不使用",
        at_least=1,
        unit="cells",
    ),
    identity(
        "splits.least_knockdown",
        float,
        "splits",
        "Perturbations whose target lost a smaller share of its expression, in the cells that were "
        "looked at, are left out; those whose target isn't measured stay. null: all stay",
        "目标基因表达下降比例(在抽查的细胞中)小于此值的扰动不使用;目标未测量的保留;"
        "null 表示全部保留",
        nullable=True,
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
        "Seed of the draws of held-out perturbations",
        "抽取留出扰动的随机种子",
        at_least=0,
        at_most=LARGEST_SEED,
    ),
)
