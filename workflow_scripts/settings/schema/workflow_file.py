"""Keys of config/workflow.yaml, which says what a bare ``snakemake`` makes."""

from __future__ import annotations

from workflow_scripts.settings.schema.key import WORKFLOW, Key, Kind


def _key(path: str, types: tuple[type, ...], meaning: str, zh: str) -> Key:
    items = str if list in types else None
    return Key(path, types, Kind.OPERATIONAL, (WORKFLOW,), meaning, zh, items=items)


KEYS: tuple[Key, ...] = (
    _key(
        "runs",
        (str, list),
        "Runs to make: names under config/runs or paths of run files, as a list or with commas "
        "between them",
        "要运行的任务:config/runs 下的名称或运行文件的路径,可为列表,也可用逗号分隔",
    ),
    _key(
        "overrides",
        (str, list),
        "Changes on top of every run, in Hydra's grammar, as a list or with blanks between them",
        "应用于每个运行的覆盖项(Hydra 语法),可为列表,也可用空格分隔",
    ),
    _key(
        "cache_dir",
        (str,),
        "Folder of the packed cells, which all runs share",
        "各次运行共享的打包细胞所在的目录",
    ),
    _key(
        "compare.replicates",
        (str, list),
        "Keys in which runs may differ and still be replicates or folds, whose scores are "
        "combined where several runs are compared",
        "比较多个运行时,只在这些键上不同的运行视为重复(或交叉验证的各折),其得分合并",
    ),
)
