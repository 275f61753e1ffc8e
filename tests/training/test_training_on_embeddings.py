"""A model that reads an embedding learns to predict it, and to decode it to expression."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from tests.stages import Stages
from tests.tiny_run import write_tiny_run
from tests.training.test_step_memory import DECODER, LLAMA, module_and_batch, plan
from workflow_scripts.errors import DataError
from workflow_scripts.models import load_model, read_description
from workflow_scripts.training.readiness import narrow_residual
from workflow_scripts.training.step import make_optimizer

WIDTH = 9


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a training on an embedding, to its end."""
    folder = tmp_path_factory.mktemp("trained")
    write_tiny_run(folder, embedding=("X_pca", WIDTH))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stages = Stages(folder / "run.yaml")
        stages.check()
        stages.pack()
        stages.train()
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it, the working directory."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


def weights(path: Path | str) -> Mapping[str, torch.Tensor]:
    return load_model(path).state_dict()


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("space", ["all", "gene", "embedding"])
def test_decoder_and_model_learn_from_the_expression_and_the_embedding(space):
    asked = plan({**LLAMA, **DECODER}, output_space=space)
    torch.manual_seed(0)
    module, batch = module_and_batch(asked, embedding_dim=16)
    module.training_step(batch, 0).backward()
    still = {
        name
        for name, weight in module.named_parameters()
        if weight.grad is None or not weight.grad.any()
    }
    assert still == set()
    assert not torch.allclose(*(
        module.training_step(batch._replace(expression=expression), 0)
        for expression in (batch.expression, batch.expression + 1)
    ))  # fmt: skip


def test_weight_of_the_decoders_loss_is_what_the_config_says():
    totals = {}
    for weight in (None, 1.0, 2.0, 3.0):
        given = {} if weight is None else {"decoder_loss_weight": weight}
        asked = plan({**LLAMA, **DECODER, **given}, output_space="embedding")
        torch.manual_seed(0)
        module, batch = module_and_batch(asked, embedding_dim=16)
        module.eval()
        with torch.no_grad():
            totals[weight] = float(module.training_step(batch, 0))
    assert totals[None] == totals[1.0]
    steps = (totals[2.0] - totals[1.0], totals[3.0] - totals[2.0])
    assert steps[0] == pytest.approx(steps[1], rel=1e-4)
    assert steps[0] > 0.01


def test_decoder_whose_loss_is_not_finite_stops_training_and_is_named():
    asked = plan({**LLAMA, **DECODER}, output_space="embedding")
    module, batch = module_and_batch(asked, embedding_dim=16)
    broken = batch._replace(expression=torch.full_like(batch.expression, float("nan")))
    module.training_step(broken, 0)
    optimizer = make_optimizer(module.model, asked)
    with pytest.raises(DataError, match="the loss is nan, finite in every set, and not where the"):
        module.configure_gradient_clipping(optimizer)


def test_checkpoint_says_what_it_reads_and_decodes_to(trained):
    model, known = (f(trained / "checkpoints/final.ckpt") for f in (load_model, read_description))
    assert known.embedding == "X_pca"
    assert (model.settings.input_dim, model.settings.output_dim) == (WIDTH, WIDTH)
    assert model.settings.gene_decoder.n_genes == len(known.gene_names) == 30
    assert model.settings.gene_decoder.hidden_dims == (16, 8)
    assert not model.settings.relu_on_embeddings


def test_training_that_goes_on_ends_with_the_weights_of_one_that_did_not_stop(copy):
    shutil.move(copy / "checkpoints", copy / "whole")
    short = Stages(Path("run.yaml"), ["training.max_steps=3"])
    short.train()
    assert torch.load("checkpoints/final.ckpt", weights_only=True)["stateline"]["step"] == 3
    Stages(Path("run.yaml")).train()
    for name in ("final.ckpt", "best.ckpt"):
        assert same(weights(f"checkpoints/{name}"), weights(copy / "whole" / name))


def test_threads_that_read_ahead_change_no_weight(copy):
    shutil.move(copy / "checkpoints", copy / "whole")
    Stages(Path("run.yaml"), ["data.kwargs.num_workers=3"]).train()
    assert same(weights("checkpoints/final.ckpt"), weights("whole/final.ckpt"))


def test_predictions_are_expression_and_keep_the_embedding_they_were_decoded_from(copy):
    stages = Stages(Path("run.yaml"))
    stages.rest()
    predicted = anndata.read_h5ad("predictions.h5ad")
    assert list(predicted.var_names) == [f"g{number}" for number in range(30)]
    assert predicted.uns["stateline"]["embedding"] == "X_pca"
    cells = (predicted.obs["perturbation"] != "control").to_numpy()
    embedding = predicted.obsm["X_pca"]
    assert (embedding[cells] < 0).any()  # as the source's: no ReLU cuts it
    model = load_model("checkpoints/final.ckpt")
    with torch.inference_mode():
        decoded = model.decode(torch.from_numpy(embedding[cells])[None])[0].numpy()
    bound = predicted.uns["stateline"]["clipped_at"]
    np.testing.assert_allclose(predicted.X[cells], np.minimum(decoded, bound), rtol=1e-5, atol=1e-6)
    source = anndata.read_h5ad("screen.h5ad")
    controls = source[predicted.obs["control_barcode"][~cells]]
    np.testing.assert_array_equal(embedding[~cells], controls.obsm["X_pca"])
    # Baselines read no embedding, and are predicted of the same cells and genes.
    baseline = anndata.read_h5ad("baselines/control.h5ad")
    assert list(baseline.var_names) == list(predicted.var_names)
    assert not baseline.obsm
    assert "embedding" not in baseline.uns["stateline"]
    assert "X; the model reads the embedding X_pca" in Path("report.html").read_text()


def test_chosen_genes_are_what_is_decoded_to(copy):
    stages = Stages(Path("run.yaml"), ["genes.select=hvg", "genes.n_top=10"])
    for step in (stages.check, stages.pack, stages.train, stages.rest):
        step()
    genes = json.loads(Path("chosen_genes.json").read_text())["genes"]
    predicted = anndata.read_h5ad("predictions.h5ad")
    assert list(predicted.var_names) == genes
    assert 10 <= len(genes) < 30
    assert predicted.obsm["X_pca"].shape[1] == WIDTH


def test_cells_with_another_embedding_or_none_are_not_predicted_from(copy):
    for name, words in (
        (None, "trained on the embedding X_pca, 9 wide, and expression alone is read; set"),
        ("X_other", "X_pca, 9 wide, and the embedding X_other, 4 wide is read"),
    ):
        adata = anndata.read_h5ad("screen.h5ad")
        adata.obsm["X_other"] = adata.obsm["X_pca"][:, :4].copy()
        adata.write_h5ad("screen.h5ad")
        key = "null" if name is None else name
        stages = Stages(
            Path("run.yaml"), [f"data.kwargs.embed_key={key}", "data.kwargs.output_space=gene"]
        )
        stages.check()
        stages.pack()
        with pytest.raises(DataError, match=words):
            stages.rest()


def test_a_training_starts_from_the_weights_of_another_on_the_same_embedding(copy):
    start = "model.kwargs.init_from=earlier/final.ckpt"
    shutil.move(copy / "checkpoints", copy / "earlier")
    stages = Stages(Path("run.yaml"), [start, "training.lr=1e-12"])
    stages.check()
    stages.train()
    report = read_description("checkpoints/final.ckpt").provenance["start"]
    assert not report["fresh"]
    assert not report["partly"]
    # Of the same width under another name, what stood for its numbers starts afresh.
    adata = anndata.read_h5ad("screen.h5ad")
    adata.obsm["X_other"] = adata.obsm["X_pca"][:, ::-1].copy()
    adata.write_h5ad("screen.h5ad")
    stages = Stages(Path("run.yaml"), [start, "data.kwargs.embed_key=X_other"])
    for step in (stages.check, stages.pack, stages.train):
        step()
    report = read_description("checkpoints/final.ckpt").provenance["start"]
    wanted = {"the embedding is X_pca there and X_other here"}
    assert set(report["fresh"].values()) == wanted
    assert {"basal_encoder.weight", "project_out.3.weight"} <= set(report["fresh"])


def test_a_narrow_embedding_is_warned_of_where_the_residual_lives_in_it():
    [found] = narrow_residual(plan(LLAMA, output_space="all"), 50)
    assert found.severity == "warning"
    assert "a predicted embedding of 50 numbers is squeezed through 6" in found.message
    assert narrow_residual(plan(LLAMA, output_space="all"), None) == []
    assert narrow_residual(plan(LLAMA, output_space="embedding"), 50) == []
    without = plan({**LLAMA, "predict_residual": False}, output_space="all")
    assert narrow_residual(without, 50) == []
