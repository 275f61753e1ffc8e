"""Keys of ``data``: which cells, what names them, and how they become inputs and targets."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import Key, identity, inert, operational

EMBED_KEY = "data.kwargs.embed_key"

CHOSEN_GENES = "X_hvg"
"""The matrix of obsm that is expression: that of some genes, as the field names it."""

EXPRESSION = (None, CHOSEN_GENES)
"""Values of ``embed_key`` under which the model reads expression; any other names an embedding."""

KEYS: tuple[Key, ...] = (
    inert(
        "data.name",
        "Class that loads the data",
        "加载数据的类名",
        "there is one way to load data",
        "数据加载方式只有一种",
        default="PerturbationDataModule",
    ),
    identity(
        "data.kwargs.toml_config_path",
        str,
        "splits",
        "Split file (TOML): the datasets, and what is held out for validation and test; null where "
        "cells.datasets names the files and splits.make, or splits.test=none, says the rest",
        "划分文件(TOML):列出数据集以及留作验证和测试的部分;若由 cells.datasets 给出文件,"
        "并由 splits.make 或 splits.test=none 决定其余,可为 null",
        nullable=True,
    ),
    identity(
        EMBED_KEY,
        str,
        "cells preflight",
        "What the model reads of a cell: null is the expression of all genes, in X or cells.layer; "
        "X_hvg is that of chosen genes in obsm, whose names lie in uns or are marked in var; any "
        "other name is an embedding in obsm (X_pca, X_state), read and predicted in place of the "
        "expression beside it, to which a gene decoder leads back",
        "模型读取的细胞表示:null 表示 X 或 cells.layer 中全部基因的表达量;"
        "X_hvg 为 obsm 中所选基因的表达量(基因名取自 uns 或 var 的标记);"
        "其他名称为 obsm 中的嵌入(如 X_pca、X_state):模型读取并预测嵌入,"
        "再由基因解码器还原为同一文件中的表达量",
        nullable=True,
    ),
    identity(
        "data.kwargs.output_space",
        str,
        "preflight train",
        "Where the residual of a prediction is added: with all in the space that is predicted, "
        "which is then squeezed to an eighth of its width; with gene or embedding inside the "
        "model. What is predicted is the expression of every gene that is read, or the embedding "
        "that embed_key names; embedding goes with such a one alone",
        "残差所在的空间:all 加在预测空间(随后压缩到其宽度的八分之一);gene 与 embedding 加在"
        "模型内部。预测的是所读基因的表达量,或 embed_key 所指的嵌入;embedding 只能与嵌入同用",
        choices=("all", "gene", "embedding"),
    ),
    inert(
        "data.kwargs.pert_rep",
        "How a perturbation is described to the model",
        "扰动的表示方式",
        "perturbation_features_file decides: null is one-hot, a file is the vectors in it",
        "由 perturbation_features_file 决定:null 为 one-hot,否则使用文件中的向量",
        default="onehot",
    ),
    inert(
        "data.kwargs.basal_rep",
        "How the unperturbed state of a cell is found",
        "基础(未扰动)状态的来源",
        "it is always a sampled control cell; basal_mapping_strategy says from where",
        "始终从对照细胞中采样;采样范围见 basal_mapping_strategy",
        default="sample",
    ),
    operational(
        "data.kwargs.num_workers",
        int,
        "preflight train",
        "Threads that read the next cells while a step runs; 0: each step waits for its cells",
        "训练一步的同时读取后续细胞的线程数;0 表示每步等待自己的细胞",
        at_least=0,
        unit="threads",
    ),
    operational(
        "data.kwargs.pin_memory",
        bool,
        "train",
        "Copy cells to the GPU through pinned memory",
        "是否经锁页内存把细胞送往 GPU",
    ),
    inert(
        "data.kwargs.n_basal_samples",
        "Control cells drawn for each perturbed cell",
        "每个扰动细胞抽取的对照细胞数",
        "it is always one: a cell set of n cells starts from n control cells",
        "始终为 1:n 个细胞的细胞集合对应 n 个对照细胞",
        default=1,
    ),
    identity(
        "data.kwargs.basal_mapping_strategy",
        str,
        "preflight train predict predict_baselines predict_unmasking",
        "Where the control cells of a set come from: its context (random), or its technical batch "
        "in that context (batch), which falls back to the context where a batch has none",
        "对照细胞的来源:同一细胞背景(random),或同一细胞背景下的同一批次(batch;批次内没有对照时退回细胞背景)",
        choices=("random", "batch"),
    ),
    identity(
        "data.kwargs.should_yield_control_cells",
        bool,
        "preflight train",
        "Train on sets of control cells too",
        "是否也把对照细胞集合作为训练目标",
    ),
    identity(
        "data.kwargs.batch_col",
        str,
        "cells",
        "Column of obs that holds the technical batch",
        "obs 中的批次列",
    ),
    identity(
        "data.kwargs.pert_col",
        str,
        "cells targets",
        "Column of obs that holds the perturbation",
        "obs 中的扰动列",
    ),
    identity(
        "data.kwargs.cell_type_key",
        str,
        "cells targets",
        "Column of obs that holds the context: cell type or cell line",
        "obs 中的细胞背景列(细胞类型或细胞系)",
    ),
    identity(
        "data.kwargs.control_pert",
        str,
        "cells targets preflight",
        "Label of the control cells in pert_col",
        "pert_col 中对照的标签",
    ),
    identity(
        "data.kwargs.map_controls",
        bool,
        "train",
        "Predict a set of control cells from other control cells; false: from itself",
        "对照细胞集合由其他对照细胞预测;false 表示由自身预测",
    ),
    identity(
        "data.kwargs.perturbation_features_file",
        (str, list),
        "features",
        "File with a vector for every perturbation (.pt, .safetensors, .npz, .parquet, .csv, .tsv, "
        ".h5ad), or a list of files whose vectors are concatenated; null is one-hot over their "
        "sorted names",
        "每个扰动的特征向量文件(.pt、.safetensors、.npz、.parquet、.csv、.tsv、.h5ad);给出列表时各文件的"
        "向量首尾相接;null 表示按名称排序的 one-hot",
        nullable=True,
        items=str,
    ),
    inert(
        "data.kwargs.store_raw_basal",
        "Keep the expression of the control cells beside their embedding",
        "除嵌入外是否保留对照细胞的原始表达",
        "the packed cells hold the expression of every gene",
        "打包后的细胞保留全部基因的表达量",
        default=False,
    ),
    inert(
        "data.kwargs.int_counts",
        "Whether X holds integer counts",
        "X 是否为整数计数",
        "what X holds is found by looking; cells.values can say it instead",
        "X 的内容自动识别;也可用 cells.values 指定",
        default=False,
    ),
    inert(
        "data.kwargs.barcode",
        "Pass the cells' barcodes on",
        "是否保留细胞条形码",
        "the names of the cells are always kept",
        "始终保留细胞名称",
        default=True,
    ),
    inert(
        "data.kwargs.output_dir",
        "Folder for what the data loader writes",
        "数据加载器的输出目录",
        "all that a run makes lies in output_dir/name",
        "运行的所有输出都在 output_dir/name",
        default=None,
    ),
    inert(
        "data.kwargs.debug",
        "Print more while loading data",
        "加载数据时是否输出更多信息",
        "every stage writes a full log in the run's folder, logs/",
        "每个阶段的完整日志都在运行目录的 logs/ 下",
        default=True,
    ),
)
