"""Keys of ``genes``: which of the packed genes a run reads."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import Key, identity

KEYS: tuple[Key, ...] = (
    identity(
        "genes.select",
        str,
        "preflight genes",
        "Genes that are read, predicted and scored: all; the most variable ones in the training "
        "cells, found by scanpy (hvg); or those of genes.file (list). Packing keeps all of them, "
        "and values stay scaled by the sum over all",
        "读取、预测和评分的基因:全部(all)、由 scanpy 在训练细胞上选出的高变基因(hvg),"
        "或 genes.file 所列的基因(list);打包始终保留全部基因,归一化也始终按全部基因之和",
        choices=("all", "hvg", "list"),
    ),
    identity(
        "genes.n_top",
        int,
        "preflight genes",
        "With hvg: how many genes; scanpy takes more where several are equal at the end",
        "hvg 时选取的基因数;末位并列时 scanpy 会多选",
        at_least=1,
        unit="genes",
    ),
    identity(
        "genes.flavor",
        str,
        "genes",
        "With hvg: how scanpy ranks genes, both by the dispersion of normalised values beside "
        "genes of a like mean: in bins of equal width (seurat), or of equal size (cell_ranger)",
        "hvg 时 scanpy 的排序方法:均按归一化表达量的离散度,与均值相近的基因比较;"
        "分箱按等宽(seurat)或等数量(cell_ranger)",
        choices=("seurat", "cell_ranger"),
    ),
    identity(
        "genes.sample_cells",
        int,
        "genes",
        "With hvg: training cells that scanpy looks at, at most, spread evenly over all groups; "
        "they decide its memory",
        "hvg 时 scanpy 最多查看的训练细胞数,在各组中均匀选取;决定所需内存",
        at_least=2,
        unit="cells",
    ),
    identity(
        "genes.keep_targets",
        bool,
        "preflight genes",
        "With hvg: read the perturbed genes that are measured too, those held out among them, so "
        "that a knockdown stays in sight. A list is taken as it is",
        "hvg 时是否同时保留已测量的扰动靶基因(包括留出的扰动),使敲低效果仍可见;"
        "list 则完全按文件所列",
    ),
    identity(
        "genes.file",
        str,
        "preflight genes",
        "With list: text file with a gene name a line; blank lines, and what follows #, are left "
        "out. genes.txt beside the packed cells holds all names",
        "list 时的文本文件,每行一个基因名;忽略空行和 # 之后的内容;"
        "全部基因名见打包细胞目录中的 genes.txt",
        nullable=True,
    ),
)
