"""Protein embeddings by ESM2: the mean of the last layer over a protein's residues.

What a sequence gets depends on itself, the model and the machine alone, and not on what is
embedded with it: a batch always has the same shape (windows are padded to a multiple of 64
residues, and short batches are filled up), and what lies beside a row takes no part in its sums.
So a killed run goes on to the same bits, and so does a later one for more genes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32
from tqdm import tqdm
from transformers import AutoTokenizer, EsmModel

from workflow_scripts.cache.writing import is_damaged, publishing
from workflow_scripts.errors import ConfigError
from workflow_scripts.features.proteins import windows
from workflow_scripts.settings.findings import listing

NUMERICS = 1
"""Raised when the same sequence and model would give another vector."""

_BUCKET = 64
_RESIDUES_A_BATCH = {"cpu": 4096, "cuda": 65536}

Precision = Literal["32-true", "bf16-true"]


@dataclass(frozen=True)
class _Window:
    protein: str
    residues: str
    weights: np.ndarray


class ProteinEncoder:
    """An ESM2 model, ready to embed.

    Parameters
    ----------
    model
        Folder of a saved model and its tokenizer, or their name on the hub.
    device
        cpu, cuda, or auto: cuda where there is one.
    precision
        Of the weights and activations; sums over residues are always float32.
    window
        Residues that the model sees at once.

    Raises
    ------
    ConfigError
        Where there is no such model, it isn't an ESM2 model with all of its weights, it can't see
        as much at once, or there is no such device.
    """

    def __init__(self, model: str, device: str, precision: Precision, window: int) -> None:
        self.name, self.window = model, window
        chosen = "cuda" if device == "auto" and torch.cuda.is_available() else device
        if chosen == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch finds no GPU here; choose cpu or auto")
        self.device = torch.device("cpu" if chosen == "auto" else chosen)
        self.precision = precision
        kind = torch.bfloat16 if precision == "bf16-true" else torch.float32
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            found: Any = EsmModel.from_pretrained(
                model, add_pooling_layer=False, output_loading_info=True, dtype=kind
            )
        except Exception as error:  # transformers raises whatever a folder makes it stumble over
            reason = " ".join(str(error).split())[:400]
            if "weights_only" in reason:
                reason = "its weights are a pickle that could run code; it needs model.safetensors"
            raise ConfigError(
                f"features.embedding.model: {model!r} can't be loaded as an ESM2 model, neither as "
                f"a folder nor as a name on the hub: {reason}"
            ) from error
        loaded, info = found
        if loaded.config.model_type != "esm" or info["missing_keys"]:
            raise ConfigError(
                f"features.embedding.model: {model!r} is no ESM2 model (type "
                f"{loaded.config.model_type}, {len(info['missing_keys'])} weights missing); name "
                "one, as facebook/esm2_t33_650M_UR50D"
            )
        if window < 1:
            raise ConfigError(f"features.embedding.window is {window}; it must be at least 1")
        # Rotary positions have no end. Learned ones do; two tokens and an offset take four.
        most = loaded.config.max_position_embeddings - 4
        if loaded.config.position_embedding_type == "absolute" and window > most:
            raise ConfigError(
                f"features.embedding.window is {window}, but {model!r} sees no more than {most} "
                "residues at once"
            )
        self._model = loaded.to(self.device).eval()

    @property
    def dimension(self) -> int:
        """Values a vector."""
        return int(self._model.config.hidden_size)

    def digest(self) -> str:
        """Return what names the vectors: weights, alphabet, precision, window, kind of device."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())
        settings = (NUMERICS, self.precision, self.window, self.device.type, _BUCKET)
        alphabet = sorted(self._tokenizer.get_vocab().items())
        digest.update(repr((settings, _RESIDUES_A_BATCH[self.device.type], alphabet)).encode())
        return digest.hexdigest()

    def embed(
        self, sequences: Iterable[str]
    ) -> Iterator[tuple[str, Float32[np.ndarray, " dimension"]]]:
        """Yield each distinct sequence with its vector, as they are done.

        A residue's state is the last layer's, averaged over the windows that hold it; the vector is
        their mean over the residues.
        """
        pieces = [piece for sequence in set(sequences) for piece in self._windows(sequence)]
        buckets: dict[int, list[_Window]] = {}
        for piece in sorted(pieces, key=lambda piece: piece.protein):
            size = -(-len(piece.residues) // _BUCKET) * _BUCKET
            buckets.setdefault(size, []).append(piece)
        sums: dict[str, np.ndarray] = {}
        left = {piece.protein: 0 for piece in pieces}
        for piece in pieces:
            left[piece.protein] += 1
        with tqdm(total=len(left), desc="proteins", unit="protein", mininterval=5) as progress:
            for size, bucket in sorted(buckets.items()):
                rows = max(1, _RESIDUES_A_BATCH[self.device.type] // size)
                for start in range(0, len(bucket), rows):
                    batch = bucket[start : start + rows]
                    for piece, total in zip(batch, self._sums(batch, rows, size), strict=True):
                        protein = piece.protein
                        sums[protein] = sums.get(protein, 0) + total
                        left[protein] -= 1
                        if not left[protein]:
                            progress.update()
                            yield protein, (sums.pop(protein) / len(protein)).astype(np.float32)

    def _windows(self, sequence: str) -> list[_Window]:
        spans = windows(len(sequence), self.window)
        times = np.zeros(len(sequence), dtype=np.float32)
        for start, stop in spans:
            times[start:stop] += 1
        return [_Window(sequence, sequence[a:b], 1 / times[a:b]) for a, b in spans]

    @torch.inference_mode()
    def _sums(self, batch: Sequence[_Window], rows: int, size: int) -> np.ndarray:
        """Return the weighted sums over residues [len(batch), dimension], float32."""
        texts = [piece.residues for piece in batch]
        # Rows of padding alone would divide by zero inside; one residue is enough.
        texts += ["A"] * (rows - len(batch))
        # The model puts a token before and one after the residues.
        tokens = self._tokenizer(
            texts, padding="max_length", max_length=size + 2, return_tensors="pt"
        ).to(self.device)
        states = self._model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).last_hidden_state
        weights = torch.zeros(len(texts), size + 2, dtype=torch.float32)
        for row, piece in enumerate(batch):
            weights[row, 1 : len(piece.weights) + 1] = torch.from_numpy(piece.weights)
        summed = torch.einsum("bl,bld->bd", weights.to(self.device), states.float())
        result: np.ndarray = summed[: len(batch)].cpu().numpy()
        return result


def embed_cached(
    sequences: Mapping[str, str], encoder: ProteinEncoder, cache: Path
) -> dict[str, Float32[np.ndarray, " dimension"]]:
    """Embed proteins by gene; what was embedded before is read, so that a kill costs one batch.

    Parameters
    ----------
    sequences
        Gene symbol to amino acids.
    encoder
        The model.
    cache
        Folder of all vectors; one below it for each model and way of embedding.
    """
    folder = cache / encoder.digest()
    folder.mkdir(parents=True, exist_ok=True)
    paths = {sequence: folder / f"{_name(sequence)}.npy" for sequence in sequences.values()}
    waiting = [name for name, path in paths.items() if not path.is_file() or is_damaged(path)]
    print(f"{len(paths)} proteins, {len(waiting)} to embed, the others from {folder}", flush=True)
    for sequence, vector in encoder.embed(waiting):
        if not np.isfinite(vector).all():
            genes = listing(gene for gene, other in sequences.items() if other == sequence)
            raise ConfigError(
                f"features.embedding.model: {encoder.name!r} gives NaN or infinite values for "
                f"{genes}; is it whole, and is features.embedding.precision ({encoder.precision}) "
                "enough for it?"
            )
        with publishing(paths[sequence]) as beside, beside.open("wb") as file:
            np.save(file, vector)
    vectors = {sequence: np.load(path) for sequence, path in paths.items()}
    return {gene: vectors[sequence] for gene, sequence in sequences.items()}


def _name(sequence: str) -> str:
    return hashlib.sha256(sequence.encode()).hexdigest()[:32]
