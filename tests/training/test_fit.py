"""A run that does not fit is refused, and one that does is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.test_estimates import estimate, sizes
from tests.training.test_step_memory import LLAMA, plan
from workflow_scripts.training.estimates import CUDA_CONTEXT_BYTES
from workflow_scripts.training.fit import (
    MachineLimits,
    check_fit,
    control_group_limit,
    machine_limits,
    most_sets_at_once,
)

MEMINFO = Path("/proc/meminfo")


@pytest.mark.parametrize(
    ("limit", "needed", "code", "knobs"),
    [
        ("free_disk", "packed_bytes", "disk-too-small", ["cache_dir"]),
        ("host_memory", "host_bytes", "host-memory", ["data.kwargs.num_workers"]),
        (
            "device_memory",
            "device_bytes",
            "device-memory",
            ["engine.batch=auto", "model.kwargs.cell_set_len", "model.kwargs.hidden_dim"],
        ),
    ],
)
def test_run_that_lacks_a_byte_is_refused(limit, needed, code, knobs):
    told = estimate()
    unknown = MachineLimits(None, None, None, already_packed=False)
    size = getattr(told, needed)
    assert check_fit(told, unknown) == []
    assert check_fit(told, replace(unknown, **{limit: size})) == []
    (finding,) = check_fit(told, replace(unknown, **{limit: size - 1}))
    assert (finding.severity, finding.code) == ("error", code)
    assert f"{size / 1e9:.1f} GB" in finding.message
    places = [finding.message.index(knob) for knob in knobs]
    assert places == sorted(places)


def test_packed_cells_need_no_more_disk():
    assert check_fit(estimate(), MachineLimits(0, None, None, already_packed=True)) == []


def test_gpu_is_not_asked_of_a_training_on_the_cpu():
    told = estimate(device="cpu")
    assert check_fit(told, MachineLimits(None, None, 1, already_packed=False)) == []


def test_number_of_sets_that_is_advised_fits():
    asked = plan(LLAMA, sets=20)
    told = estimate(asked)
    model = told.model
    there = told.device_bytes - (model.total - model.parameter_bytes) // 2
    limits = MachineLimits(None, None, there, already_packed=False)
    (finding,) = check_fit(told, limits)
    assert "engine.batch=auto (about 10 sets fit at once" in finding.message
    assert check_fit(estimate(asked, sets_at_once=10), limits) == []


def test_no_number_of_sets_is_advised_where_weights_alone_are_too_large():
    told = estimate()
    there = CUDA_CONTEXT_BYTES + told.model.parameter_bytes
    (finding,) = check_fit(told, MachineLimits(None, None, there, already_packed=False))
    assert "engine.batch" not in finding.message
    assert "not even one set at once fits: lower model.kwargs.hidden_dim" in finding.message


def test_precision_is_advised_where_it_is_not_yet_low():
    limits = MachineLimits(None, None, CUDA_CONTEXT_BYTES, already_packed=False)
    for precision, advised in (("32-true", True), ("bf16-mixed", False)):
        told = estimate(plan(LLAMA, sets=20, precision=precision))
        limits = replace(limits, device_memory=told.device_bytes - 1)
        (finding,) = check_fit(told, limits)
        assert ("engine.precision" in finding.message) is advised


@pytest.mark.parametrize(("device", "limit"), [("cuda", "device_memory"), ("cpu", "host_memory")])
@pytest.mark.parametrize("fitting", [1, 2, 5, 10])
def test_as_many_sets_are_computed_at_once_as_leave_a_tenth_free(device, limit, fitting):
    asked = plan(LLAMA, sets=20)
    options = {"device": device, "devices": 2, "num_workers": 4}
    told = estimate(asked, **options, sets_at_once=fitting)
    needed = told.host_bytes if device == "cpu" else told.device_bytes
    limits = MachineLimits(None, None, None, already_packed=False)
    enough = replace(limits, **{limit: int(needed / 0.9) + 2})
    assert most_sets_at_once(asked, sizes(), enough, **options) == fitting
    less = replace(limits, **{limit: int(needed / 0.9) - 2})
    assert most_sets_at_once(asked, sizes(), less, **options) == max(fitting // 2, 1)


@pytest.mark.skipif(not MEMINFO.is_file(), reason="needs Linux's /proc")
def test_limits_are_those_of_this_machine(tmp_path):
    limits = machine_limits(tmp_path / "not" / "yet" / "there", already_packed=True)
    assert limits.already_packed
    assert limits.free_disk > 0
    total = next(line for line in MEMINFO.read_text().splitlines() if line.startswith("MemTotal"))
    assert limits.host_memory <= int(total.split()[1]) * 1024
    assert (limits.device_memory is None) is not torch.cuda.is_available()


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/slurm/job_1", {"slurm/memory.max": "500", "slurm/job_1/memory.max": "max"}, 500),
        ("0::/slurm/job_1", {"slurm/memory.max": "500", "slurm/job_1/memory.max": "400"}, 400),
        ("0::/", {"memory.max": "300"}, 300),
        ("0::/out/of/sight", {"memory.max": "300"}, 300),
        ("0::/", {"memory.max": "max"}, None),
        ("3:cpu:/a\n2:memory:/a", {"memory/a/memory.limit_in_bytes": "200"}, 200),
        ("2:memory:/a\n0::/", {"memory/a/memory.limit_in_bytes": "200", "memory.max": "9"}, 9),
        ("3:cpu:/a", {}, None),
    ],
)
def test_control_groups_limit_memory(tmp_path, membership, files, limit):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert control_group_limit(membership, tmp_path) == limit
