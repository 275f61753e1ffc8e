"""Keys of ``model`` that say what a training starts from, and what of it stays as it is."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import Key, identity, inert

INIT_FROM = "model.kwargs.init_from"

KEYS: tuple[Key, ...] = (
    inert(
        "model.checkpoint",
        "Checkpoint to continue from",
        "继续训练所用的检查点",
        "a training that stopped continues by itself from its last checkpoint",
        "中断的训练会自动从最近的检查点继续",
        default=None,
    ),
    identity(
        "model.kwargs.init_from",
        str,
        "preflight train",
        "Model whose weights training starts from: a model folder or a checkpoint of this project "
        "(import_checkpoint makes one of the reference's); genes are matched by name, and what "
        "doesn't fit starts afresh and is listed; null is random weights",
        "训练的初始权重:本项目的模型目录或检查点(import_checkpoint 可导入参考实现的检查点);"
        "基因按名称对应,对不上的部分重新初始化并逐项列出;null 表示随机初始化",
        nullable=True,
        optional=True,
    ),
    identity(
        "model.kwargs.freeze_pert_backbone",
        bool,
        "preflight train",
        "Train all but the backbone and the perturbation encoder, which stay as init_from has them",
        "是否冻结主干与扰动编码器(保持 init_from 所给的权重),只训练其余部分",
        optional=True,
    ),
    identity(
        "model.kwargs.freeze_pert",
        bool,
        "preflight train",
        "Another name of freeze_pert_backbone: true in either is true",
        "freeze_pert_backbone 的另一名称,任一为 true 即冻结",
        optional=True,
    ),
)
