"""Whether a run fits into the machine it is started on, and what to change where it doesn't."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from workflow_scripts.cells.audited import AuditFiles, values_of
from workflow_scripts.errors import ConfigError
from workflow_scripts.settings.findings import Finding
from workflow_scripts.settings.slices import Slice
from workflow_scripts.training.estimates import DataSizes, RunEstimate, estimate_run
from workflow_scripts.training.plan import TrainingPlan
from workflow_scripts.training.processes import divisors
from workflow_scripts.training.readiness import set_groups, sets_per_epoch
from workflow_scripts.training.step_memory import Device

LEFT_FREE = 0.1
"""Part of the memory that stays free where it is decided how many sets fit: what can't be known
(gaps between blocks, libraries) comes on top of an estimate."""


@dataclass(frozen=True)
class MachineLimits:
    """What there is to fit into, in bytes; None where it isn't known.

    Attributes
    ----------
    free_disk
        Free space where the packed cells go.
    host_memory, device_memory
        Memory of the machine (or what of it this process may use), and of its first GPU.
    already_packed
        Whether the packed cells are there, so that they need no more room.
    """

    free_disk: int | None
    host_memory: int | None
    device_memory: int | None
    already_packed: bool


def check_fit(estimate: RunEstimate, machine: MachineLimits) -> list[Finding]:
    """Find what the machine lacks, and name the settings that need less, the best first.

    A limit that isn't known says nothing. The estimate leaves out what can't be known (gaps between
    blocks of memory, other processes): what it refuses does not fit, what it lets pass may be
    tight.
    """
    findings = []
    needed, there = estimate.packed_bytes, machine.free_disk
    if there is not None and needed > there and not machine.already_packed:
        findings.append(
            Finding(
                "error",
                "disk-too-small",
                f"the packed cells need {_gb(needed)} of disk, {_gb(there)} are free; make room, "
                "or set cache_dir to another disk",
            )
        )
    needed, there = estimate.host_bytes, machine.host_memory
    if there is not None and needed > there:
        findings.append(
            Finding(
                "error",
                "host-memory",
                f"training needs {_gb(needed)} of memory, {_gb(estimate.loading_bytes)} of it for "
                f"batches that wait; there are {_gb(there)}; {_host_knobs(estimate)}",
            )
        )
    if estimate.device_bytes is not None and machine.device_memory is not None:
        needed, there = estimate.device_bytes, machine.device_memory
        if needed > there:
            model = estimate.model
            findings.append(
                Finding(
                    "error",
                    "device-memory",
                    f"a training step needs {_gb(needed)} of GPU memory "
                    f"({_gb(model.parameter_bytes)} for weights, gradients and optimizer, "
                    f"{_gb(model.total - model.parameter_bytes)} for its cells and what is "
                    f"computed from them); there are {_gb(there)}; "
                    f"{_device_knobs(estimate, needed - there)}",
                )
            )
    return findings


def estimate_and_check(
    settings: Slice, plan: TrainingPlan, given: AuditFiles, n_read: int, store: Path
) -> tuple[RunEstimate | None, list[Finding]]:
    """Work out what a run needs, and whether it fits where it will train.

    Parameters
    ----------
    settings
        Of preflight.
    given
        What the audits wrote.
    n_read
        How many genes are read.
    store
        Where the cells are packed to.

    Returns
    -------
    The estimate, None if nothing trains or the model can't be built; and what was found.
    """
    batches, cells = given.groups_by_batch, given.of_cells
    n_sets = sets_per_epoch(set_groups(given.groups, batches, by_batch=plan.by_batch), plan)
    if not n_sets:
        return None, []
    sizes = DataSizes(
        n_cells=cells["n_cells"],
        n_values=cells["n_values"],
        n_genes=len(given.genes),
        n_read=n_read,
        feature_dim=given.of_features["dimension"],
        n_batches=int(batches["batch"].nunique()),
        holds="counts" if values_of(cells) == {"counts"} else "log1p",
        sets_per_epoch=n_sets,
        embedding_dim=cells.get("embedding_dim"),
    )
    limits = machine_limits(store, already_packed=any(store.glob("*/finished.json")))
    stated = settings["engine.gpu_memory"]
    if stated is not None:
        limits = replace(limits, device_memory=int(stated * 1e9))
    for_cpu = settings["model.device"] == "cpu"
    device: Device = "cpu" if for_cpu or limits.device_memory is None else "cuda"
    nodes = settings["engine.nodes"]
    devices, readers = settings["training.devices"] * nodes, settings["data.kwargs.num_workers"]
    at_once = settings["engine.batch"]
    try:
        if at_once == "auto":
            at_once = most_sets_at_once(
                plan, sizes, limits, device=device, devices=devices, num_workers=readers
            )
        estimate = estimate_run(
            plan,
            sizes,
            device=device,
            devices=devices,
            nodes=nodes,
            sets_at_once=at_once,
            num_workers=readers,
        )
    except ConfigError as error:
        return None, [Finding("error", "model", str(error))]
    findings = check_fit(estimate, limits)
    if not for_cpu and limits.device_memory is None:
        way = (
            "; no GPU is seen here, so that the CPU would train: if a GPU elsewhere will, say how "
            "many GB it has with engine.gpu_memory"
        )
        for number, finding in enumerate(findings):
            if finding.code == "host-memory":
                findings[number] = replace(finding, message=finding.message + way)
    return estimate, findings


def most_sets_at_once(
    plan: TrainingPlan,
    sizes: DataSizes,
    machine: MachineLimits,
    *,
    device: Device,
    devices: int,
    num_workers: int,
) -> int:
    """Return how many of a device's sets of a step fit into its memory at once.

    It is a divisor of them, so that all passes of a step are alike, and depends on what the machine
    has, not on what is free: started again, a training takes the same. 1 where not even that fits,
    or no limit is known.
    """
    there = machine.host_memory if device == "cpu" else machine.device_memory
    if there is None:
        return 1
    for sets in reversed(divisors(max(plan.sets_per_step // devices, 1))):
        told = estimate_run(
            plan, sizes, device=device, devices=devices, sets_at_once=sets, num_workers=num_workers
        )
        needed = told.host_bytes if told.device_bytes is None else told.device_bytes
        if needed <= (1 - LEFT_FREE) * there:
            return sets
    return 1


def machine_limits(cache_dir: Path, *, already_packed: bool = False) -> MachineLimits:
    """Read what this machine has: disk of ``cache_dir``, memory, memory of its first GPU.

    Where ``cache_dir`` isn't there yet, the nearest folder above it is asked.
    """
    folder = cache_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return MachineLimits(
        free_disk=shutil.disk_usage(folder).free,
        host_memory=_host_memory(),
        device_memory=None if gpu is None else int(gpu.total_memory),
        already_packed=already_packed,
    )


def control_group_limit(membership: str, root: Path) -> int | None:
    """Return the least memory that a process's control groups allow it; None for no limit.

    Parameters
    ----------
    membership
        Text of the process's ``/proc/self/cgroup``.
    root
        Where control groups are mounted, of version 2 or 1.
    """
    limits = []
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            top, name = root / "memory", "memory.limit_in_bytes"
        elif number == "0":
            top, name = root, "memory.max"
        else:
            continue
        # A group is bound by those around it. In a container its own path may be out of sight.
        parts = Path(path).parts[1:]
        for depth in range(len(parts) + 1):
            file = top.joinpath(*parts[:depth], name)
            if file.is_file() and (text := file.read_text().strip()) != "max":
                limits.append(int(text))
    return min(limits, default=None)


def _host_memory() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    membership = Path("/proc/self/cgroup")
    if not membership.is_file():  # not Linux
        return physical
    limit = control_group_limit(membership.read_text(), Path("/sys/fs/cgroup"))
    return physical if limit is None else min(physical, limit)


def _host_knobs(estimate: RunEstimate) -> str:
    readers, step = "data.kwargs.num_workers", "engine.batch, model.kwargs.cell_set_len"
    if estimate.device_bytes is not None:
        return f"lower {readers}, {step}"
    if estimate.loading_bytes > estimate.model.total:
        return f"lower {readers}, {step}, model.kwargs.hidden_dim"
    return f"lower {step}, model.kwargs.hidden_dim, {readers}"


def _device_knobs(estimate: RunEstimate, excess: int) -> str:
    """Say what to change; all but parameters grows with the sets that are computed at once."""
    a_set = (estimate.model.total - estimate.model.parameter_bytes) / estimate.sets_at_once
    sets = estimate.sets_at_once - excess / a_set
    if sets < 1:
        return (
            "not even one set at once fits: lower model.kwargs.hidden_dim and the number of "
            "layers, then model.kwargs.cell_set_len"
        )
    half = "set engine.precision to bf16-mixed, " if estimate.precision == "32-true" else ""
    return (
        f"set engine.batch=auto (about {int(sets)} sets fit at once; steps stay as they are), "
        f"{half}lower model.kwargs.cell_set_len or model.kwargs.hidden_dim"
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
