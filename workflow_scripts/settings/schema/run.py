"""Keys of a run as a whole: they stand at the top of a config."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import Key, inert, operational

KEYS: tuple[Key, ...] = (
    operational(
        "name",
        str,
        "workflow train predict predict_baselines predict_unmasking",
        "Name of the run: all it makes lies in the folder output_dir/name",
        "运行名称;所有结果写入 output_dir/name",
    ),
    operational(
        "output_dir",
        str,
        "workflow",
        "Folder that holds the runs; a relative path starts at the working directory",
        "存放各次运行的目录;相对路径以工作目录为起点",
    ),
    operational(
        "use_wandb",
        bool,
        "train",
        "Log the training to Weights & Biases; without an API key, offline",
        "是否用 Weights & Biases 记录训练;没有 API key 时离线记录",
    ),
    inert(
        "overwrite",
        "Train anew where the run's folder holds an earlier training",
        "运行目录中已有训练结果时是否重新训练",
        "finished work is kept while what it was made from is the same, and replaced when that "
        "changes; for another training of the same run, change training.train_seed",
        "来源不变则沿用已有结果,来源改变则自动替换;若要另训一次,请修改 training.train_seed",
        default=False,
    ),
    inert(
        "return_adatas",
        "Return the predicted and the observed cells",
        "是否返回预测细胞与观测细胞",
        "every run writes both: predictions.h5ad and observed.h5ad in its folder",
        "每次运行都会在运行目录写出 predictions.h5ad 与 observed.h5ad",
        default=False,
    ),
    inert(
        "pred_adata_path",
        "File of the predicted cells",
        "预测细胞的文件路径",
        "they always lie in the run's folder, as predictions.h5ad",
        "固定写入运行目录下的 predictions.h5ad",
        default=None,
    ),
    inert(
        "true_adata_path",
        "File of the observed cells",
        "观测细胞的文件路径",
        "they always lie in the run's folder, as observed.h5ad",
        "固定写入运行目录下的 observed.h5ad",
        default=None,
    ),
)
