"""A checkpoint on its way to the disk, by the short way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO


class DirectCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint where it is asked to, once.

    Lightning's own way makes the whole file in memory, writes it to the system's temporary folder
    and moves it from there: gigabytes more of memory, a second disk that may be small and full
    (on a cluster's node it often is memory, too), and a file there that nobody removes after a
    kill. `CheckpointWriter` writes beside the checkpoint's place and renames, so that nothing of
    it is needed.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises
        ------
        OSError
            Where the file can't be written, with the system's reason.
        """
        with Path(path).open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # Closing what couldn't be written fails too, and torch tells of that alone.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from error
                raise
