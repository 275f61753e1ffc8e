"""What stands for a model that a config names. Imports nothing heavy."""

from __future__ import annotations

from workflow_scripts.cache.digests import file_digest
from workflow_scripts.errors import DataError
from workflow_scripts.settings.choices import model_file


def model_digest(path: str, key: str) -> str:
    """Return the digest of what a model is: of its checkpoint, or of what describes its folder.

    Parameters
    ----------
    path
        Where it lies.
    key
        Key of the config that names it.

    Raises
    ------
    DataError
        If there is no such model.
    """
    file = model_file(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file; {key} names {path}")
    return file_digest(file)
