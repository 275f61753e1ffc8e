"""Keys of the section ``engine``: how training runs."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import Key, extent, identity, operational

KEYS: tuple[Key, ...] = (
    identity(
        "engine.precision",
        str,
        "preflight train",
        "Arithmetic of a training step, in Lightning's names; auto: bf16-mixed where the GPU has "
        "it, else 32-true",
        "训练的数值精度(Lightning 的名称);auto 表示 GPU 支持时用 bf16-mixed,否则 32-true",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed"),
    ),
    identity(
        "engine.schedule",
        str,
        "train",
        "How the learning rate goes after the warmup: it stays (constant), or falls by half a "
        "cosine until schedule_steps (cosine)",
        "预热之后学习率的变化:保持不变(constant),或按半个余弦下降到 schedule_steps(cosine)",
        choices=("constant", "cosine"),
    ),
    identity(
        "engine.warmup_steps",
        int,
        "train",
        "Steps over which the learning rate rises to training.lr; 0: none",
        "学习率升至 training.lr 所用的步数;0 表示不预热",
        at_least=0,
        unit="steps",
    ),
    identity(
        "engine.schedule_steps",
        int,
        "train",
        "Step at which the cosine has reached its lowest rate, whatever training.max_steps is; "
        "null where the schedule is constant",
        "余弦下降到最低学习率的步数,与 training.max_steps 无关;constant 时为 null",
        nullable=True,
        at_least=1,
        unit="steps",
    ),
    identity(
        "engine.lowest_lr",
        float,
        "train",
        "Lowest rate of the cosine, as a part of training.lr",
        "余弦的最低学习率,以 training.lr 的比例表示",
        at_least=0,
        at_most=1,
    ),
    identity(
        "engine.ema",
        float,
        "preflight train",
        "Exponential moving average of the weights: what stays of it in a step (0.999 is usual); "
        "validations, checkpoints and predictions take the average. null: the weights themselves",
        "权重的指数滑动平均:每步保留的比例(常用 0.999);验证、检查点与预测使用平均后的权重。"
        "null 表示直接使用权重本身",
        nullable=True,
        above=0,
        below=1,
    ),
    identity(
        "engine.select_by",
        str,
        "preflight train",
        "Which validation is the best: that of the lowest loss (val_loss), or of the highest score "
        "of the predicted effects, as cell-eval2 computes it: rank of the own effect by distance "
        "(pds_l1, pds_cosine), correlation over genes (delta_pearson)",
        "以什么选出最佳验证:损失最低(val_loss),或验证扰动的效应得分最高(与 cell-eval2 的算法一致):"
        "按距离的排名(pds_l1、pds_cosine)、基因间相关(delta_pearson)",
        choices=("val_loss", "pds_l1", "pds_cosine", "delta_pearson"),
    ),
    extent(
        "engine.early_stopping",
        int,
        "train",
        "Validations that are not better than the best (engine.select_by) after which training "
        "stops, and final.ckpt is the state there; null: never",
        "连续多少次验证未优于最佳(engine.select_by)后停止训练,此时的状态即 final.ckpt;"
        "null 表示不提前停止",
        nullable=True,
        at_least=1,
        unit="validations",
    ),
    operational(
        "engine.nodes",
        int,
        "preflight train",
        "Machines that train together, each with training.devices; srun or torchrun starts the "
        "processes on all of them",
        "共同训练的机器数,每台使用 training.devices 个设备;由 srun 或 torchrun 在各机器上启动进程",
        at_least=1,
        unit="machines",
    ),
    operational(
        "engine.batch",
        int,
        "preflight train",
        "Cell sets that go through the model of a device at once; a step of more takes several "
        "passes, whose gradients add up to the same. auto: as many as fit into its memory; null: "
        "all of a device's part of a step",
        "每个设备一次送入模型的细胞集合数;一步多于此数时分几次计算并累加梯度,结果相同。"
        "auto 表示显存(内存)放得下的最多个数;null 表示设备所分得的全部",
        nullable=True,
        words=("auto",),
        at_least=1,
        unit="cell sets",
    ),
    operational(
        "engine.compile",
        bool,
        "train",
        "Compile the step, for results that are the same to rounding; auto: on a GPU, and without "
        "it where that fails",
        "是否编译训练步(结果仅有舍入差异);auto 表示在 GPU 上编译,失败时按原样运行",
        words=("auto",),
    ),
    operational(
        "engine.deterministic",
        bool,
        "train",
        "On a GPU, take algorithms that give the same bits each time, which are slower; those of "
        "the CPU always do",
        "在 GPU 上使用每次结果逐位相同的算法(较慢);CPU 上始终如此",
    ),
    operational(
        "engine.gpu_memory",
        float,
        "preflight",
        "Memory of the GPU that will train, for preflight to see whether a step fits; null: that "
        "of the GPU where preflight runs, and where there is none, the CPU is taken to train",
        "训练所用 GPU 的显存,供 preflight 判断一步是否放得下;"
        "null 表示取运行 preflight 的机器的 GPU,没有 GPU 时视为用 CPU 训练",
        nullable=True,
        above=0,
        unit="GB",
    ),
    operational(
        "engine.gpu_cells",
        float,
        "train",
        "Most memory of the GPU that packed cells may take; null: what the first steps leave free "
        "but for a tenth of all; where they don't fit, each step's cells are copied",
        "打包细胞最多占用的显存;null 表示前几步训练后剩余的显存(保留总量的十分之一);"
        "放不下时每步拷贝所需的细胞",
        nullable=True,
        at_least=0,
        unit="GB",
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
        "engine.sampling",
        str,
        "train",
        "How often an epoch visits each group of cells (a perturbation in a context): each cell "
        "once (proportional); all groups alike (uniform); in proportion to the square root of its "
        "cells (sqrt). The sets of an epoch are about as many in each case",
        "每个 epoch 访问各组细胞(某细胞背景下的某扰动)的频度:每个细胞一次(proportional);"
        "各组相同(uniform);按细胞数的平方根(sqrt)。三种方式下一个 epoch 的细胞集合总数大致相同",
        choices=("proportional", "uniform", "sqrt"),
    ),
    identity(
        "engine.downsample_cells",
        int,
        "preflight train predict_baselines",
        "Most cells of a perturbation in a context (of one file) that train, the same ones in "
        "every run; controls to start from stay as many as there are; null: all",
        "每个细胞背景(同一文件内)中每种扰动最多使用的训练细胞数,"
        "各次运行选取相同的细胞;"
        "作为输入的对照细胞不受限制;null 表示全部",
        nullable=True,
        at_least=1,
        unit="cells",
    ),
    identity(
        "engine.val_subsample_fraction",
        float,
        "train",
        "Part of the validation cell sets that a validation looks at, spread over the groups; "
        "null: all, up to validation_sets",
        "每次验证使用的验证细胞集合比例,在各组间均匀选取;null 表示全部(不超过 validation_sets)",
        nullable=True,
        above=0,
        at_most=1,
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
)
