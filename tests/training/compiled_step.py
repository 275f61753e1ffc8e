"""What compiled code gives, in a process without the checks of shapes: those can't be compiled."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch._inductor.utils import fresh_cache

from tests.training.test_step_memory import LLAMA, module_and_batch, plan
from workflow_scripts.models.losses import SetLoss
from workflow_scripts.models.objective import objective
from workflow_scripts.training.compiling import _Compiled


def without_a_compiler() -> dict[str, Any]:
    """Ask for a compiled objective where there is no compiler, and for the objective itself."""
    module, batch = module_and_batch(plan(LLAMA))
    module.eval()
    asked = {
        "control": batch.control,
        "features": batch.features,
        "observed": batch.observed,
        "batch": batch.batch,
    }
    said: list[str] = []
    compute = _Compiled(must=False, say=said.append)
    nothing = torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")})
    with fresh_cache(), nothing:
        totals = [compute(module.model, module._loss, **asked).total.item() for _ in range(2)]
    own = objective(module.model, module._loss, **asked).total.item()
    return {"said": said, "totals": totals, "own": own}


def with_a_broken_set(name: str) -> list[dict[str, Any]]:
    """Return values and gradient of sets, one of which holds a NaN: as they are, and compiled."""
    loss = SetLoss(name)
    cells = torch.rand(2, 4, 4, 5, generator=torch.Generator().manual_seed(1))
    cells[1, 1, 2, 3] = torch.nan
    results = []
    # This backend traces as compilers do, and then runs what it traced.
    for per_set in (loss.per_set, torch.compile(loss.per_set, backend="eager")):
        predicted = cells[0].clone().requires_grad_()
        values = per_set(predicted, cells[1])
        values.nanmean().backward()
        assert predicted.grad is not None
        results.append({"values": values.tolist(), "gradient": predicted.grad.tolist()})
    return results


if __name__ == "__main__":
    sets = {name: with_a_broken_set(name) for name in ("energy", "mse")}
    print(json.dumps({"without a compiler": without_a_compiler(), "sets": sets}))
