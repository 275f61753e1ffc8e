"""Each row of docs/invalidation.md: a change, the jobs that it runs, and then nothing more to do.

What runs is Snakemake's decision. So the rows are tested on a copy of the workflow whose scripts
are stubs, one after another on one run; two of them are tested on the real workflow as well.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.screens import write_screen
from tests.snakemake_runs import ROOT, Outcome, snakemake
from tests.tiny_run import PERTURBATIONS, write_tiny_run
from workflow_scripts.settings.stages import STAGES

RECORD = {"freeze_cells", "freeze_config", "freeze_stage"}
COPIED = ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs")

STUB = """#!/bin/bash
# stub INPUT... : OUTPUT...: write a digest of the inputs into every output, as a record.
while [ "$1" != : ]; do inputs+=("$1"); shift; done
digest=$(find /dev/null "${inputs[@]}" -type f -exec cat {} + | sha256sum)
for file in "${@:2}"; do
    case "${file##*/}" in *.*) ;; *) mkdir -p "$file"; file=$file/content ;; esac
    printf '{"digest": "%s", "estimate": {"host_bytes": 0}}\\n' "$digest" > "$file"
done
"""

BEFORE = re.compile(r"^(packed|finished) before", re.MULTILINE)
"""What stages say that find their finished work."""


class Project:
    """A copy of the workflow, a run of it, and what is asked for now."""

    def __init__(self, folder: Path, *, stubs: bool) -> None:
        self.folder, self.tool, self.asked = folder, folder / "tool", {}
        self.tool.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.tool / name)
        if stubs:
            self.replace_scripts()
        self.run_file = write_tiny_run(folder)
        # A folder, so that a dataset can have another file.
        (folder / "data").mkdir()
        (folder / "screen.h5ad").rename(folder / "data" / "screen.h5ad")
        self.edit("starter.toml", '"screen.h5ad"', '"data"')
        # Scores without differential expression, whose tests take seconds to compile in each job.
        self.edit("run.yaml", "name: tiny", "name: tiny\nevaluation: {profile: pds}")
        self.ask(**{"prediction.baselines": "[control,ridge]"})

    def replace_scripts(self) -> None:
        """Have every job of a script run the stub."""
        stub = self.folder / "stub"
        stub.write_text(STUB)
        stub.chmod(0o755)
        command = f'"{stub} {{input:q}} : {{output:q}} > {{log:q}}"'
        for path in (self.tool / "rules").glob("*.smk"):
            text = re.sub(
                r"( +)shell:\n((?:\1    .*\n?)+)",
                lambda m: (
                    f"{m[1]}shell:\n{m[1]}    {command}\n"
                    if "scripts." in m[2] or "command(" in m[2]
                    else m[0]
                ),
                path.read_text(),
            )
            path.write_text(text)
        for name in ("tiny", "second"):  # what is read of it at the end is no output of a job
            findings = self.folder / "out" / name / "preflight" / "findings.json"
            findings.parent.mkdir(parents=True)
            findings.write_text('{"findings": {}}')

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def ask(self, **overrides: str) -> None:
        self.asked |= overrides

    def start(self, *targets: str) -> Outcome:
        overrides = " ".join(f"{key}={value}" for key, value in self.asked.items())
        config = ("--config", "runs=run.yaml", "cache_dir=cache", f"overrides={overrides}")
        return snakemake(self.folder, *targets, *config, snakefile=self.tool / "Snakefile")

    def log(self, rule: str) -> str:
        name = self.asked.get("name", "tiny")
        (found,) = [
            *self.folder.glob(f"out/{name}/logs/{rule}.log"),
            *self.folder.glob(f"cache/cells/*/logs/{rule}.log"),
        ][-1:]
        return found.read_text()


def change_vector(project: Project, name: str) -> None:
    path = project.folder / "features.pt"
    vectors = torch.load(path, weights_only=True)
    vectors[name] = vectors.get(name, torch.zeros(5)) + 1.0
    torch.save(vectors, path)


def reorder(project: Project) -> None:
    lines = project.run_file.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith("use_wandb"))
    moved = [*lines[:at], *lines[at + 1 :], lines[at], "# a remark\n"]
    project.run_file.write_text("".join(moved))


def touch_config(project: Project) -> None:
    for path in [project.run_file, *(project.tool / "config").rglob("*.yaml")]:
        os.utime(path)


def rewrite(project: Project) -> None:
    for name in ("data/screen.h5ad", "features.pt", "starter.toml"):
        path = project.folder / name
        os.utime(path)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def touch_large_cells(project: Project) -> None:
    path = project.folder / "data" / "screen.h5ad"
    with path.open("ab") as file:
        file.write(bytes(1_000_000))
    project.start()
    os.utime(path)


def add_file(project: Project) -> None:
    write_screen(
        project.folder / "data" / "more.h5ad",
        perturbations=PERTURBATIONS,
        contexts=("hepg2",),
        cells_per_group=8,
        seed=3,
    )


def edit_code(project: Project) -> None:
    with (project.tool / "workflow_scripts" / "prediction" / "model.py").open("a") as file:
        file.write("\n# A remark.\n")


def raise_numerics(project: Project) -> None:
    version = STAGES["evaluate"].numerics
    assert version > 1
    name = "tool/workflow_scripts/settings/stages.py"
    of_scores = "numerics={},\n        engines=_SCORER"
    project.edit(name, of_scores.format(version), of_scores.format(version + 1))


def asking(**overrides: str) -> Callable[[Project], None]:
    return lambda project: project.ask(
        **{key.replace("__", "."): value for key, value in overrides.items()}
    )


CHANGES: dict[str, Callable[[Project], None]] = {
    "`wandb.*`, tags": asking(
        wandb__tags="[x]",
        data__kwargs__num_workers="1",
        data__kwargs__pin_memory="false",
        engine__keep_checkpoints="3",
        training__devices="1",
    ),
    "comments, or another order": reorder,
    "`touch` of any config file": touch_config,
    "`report.title`": asking(report__title="Screen"),
    "`evaluation.resamples`": asking(evaluation__resamples="50"),
    "`evaluation.extra_metrics`": asking(evaluation__extra_metrics="[]"),
    "`prediction.clip`": asking(prediction__clip="false"),
    "`training.lr`": asking(training__lr="2e-3"),
    "the value before, again": asking(training__lr="1e-3"),
    "`model.kwargs.hidden_dim`": asking(
        **{
            "model.kwargs.hidden_dim": "8",
            "model.kwargs.transformer_backbone_kwargs.head_dim": "4",
        }
    ),
    "`training.max_steps` raised": asking(training__max_steps="6"),
    "the split of the TOML": lambda project: project.edit("starter.toml", '"g4"]', '"g5"]'),
    "a vector of the feature file": lambda project: change_vector(project, "g2"),
    "a vector that it doesn't read": lambda project: change_vector(project, "unused"),
    "`touch` of a file": rewrite,
    "`touch` of a larger h5ad": touch_large_cells,
    "another h5ad": add_file,
    "the report deleted": lambda project: (project.folder / "out/tiny/report.html").unlink(),
    "`final.ckpt` deleted": lambda project: (
        project.folder / "out/tiny/checkpoints/final.ckpt"
    ).unlink(),
    "an edit of the code": edit_code,
    "the version of a stage's arithmetic": raise_numerics,
    "a second run": asking(name="second", training__train_seed="1"),
}
"""What does what the row says that begins so."""


def table() -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield the rows of the page: the change, what computes, what returns at once."""
    for line in (ROOT / "docs" / "invalidation.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| change"):
            change, computes, returns = (cell.strip() for cell in line.strip("|").split("|"))
            names = [set(re.findall(r"\w+", cell)) - {"nothing"} for cell in (computes, returns)]
            yield change, *names


ROWS = list(table())
REAL = ("`training.max_steps` raised", "a vector that it doesn't read")
"""Rows that are tested on the real workflow: one that continues, one whose work is all done."""


def test_every_row_is_tested() -> None:
    for change, *_ in ROWS:
        assert sum(change.startswith(name) for name in CHANGES) == 1, change
    assert len(ROWS) == len(CHANGES)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("stubs"), stubs=True)
    project.start()
    return project


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("real"), stubs=False)
    project.start()
    return project


def check_row(project: Project, change: str, computes: set[str], returns: set[str]) -> None:
    """Make a change; its jobs must be those of the row, and nothing may be left to do."""
    (apply,) = [do for name, do in CHANGES.items() if change.startswith(name)]
    apply(project)
    jobs = set(project.start().jobs)
    if computes & RECORD or not computes:
        assert jobs == computes
    else:
        assert jobs - RECORD == computes | returns
    assert project.start().jobs == []


@pytest.mark.parametrize(("change", "computes", "returns"), ROWS, ids=[row[0][:40] for row in ROWS])
def test_change_runs_what_the_page_says(
    stubs: Project, change: str, computes: set[str], returns: set[str]
) -> None:
    check_row(stubs, change, computes, returns)


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "computes", "returns"), [row for row in ROWS if row[0].startswith(REAL)], ids=REAL
)
def test_jobs_compute_and_return_as_the_page_says(
    real: Project, change: str, computes: set[str], returns: set[str]
) -> None:
    check_row(real, change, computes, returns)
    for rule in computes - RECORD:
        assert not BEFORE.search(real.log(rule)), rule
    for rule in returns:
        assert BEFORE.search(real.log(rule)), rule
    if "goes on from the last step" in change:
        assert "from step 4" in real.log("train")
