"""Which genes a run asks for, and whether its cells have them: known before anything is packed."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.cells.gene_names import audit_genes
from workflow_scripts.errors import DataError
from workflow_scripts.settings.findings import Finding, listing
from workflow_scripts.settings.slices import Slice

KEY = "genes.file"


@dataclass(frozen=True)
class GeneChoice:
    """What is asked for.

    Attributes
    ----------
    select
        all, hvg (highly variable genes) or list.
    n_top
        How many highly variable genes.
    keep_targets
        Whether measured targets are read beside them.
    file
        The list.
    """

    select: str
    n_top: int
    keep_targets: bool
    file: str | None

    @classmethod
    def from_slice(cls, settings: Slice) -> GeneChoice:
        """Take the choice out of a slice."""
        return cls(
            settings["genes.select"],
            settings["genes.n_top"],
            settings["genes.keep_targets"],
            settings["genes.file"],
        )

    def listed(self) -> list[str]:
        """Return the names of the list, as they stand there.

        Raises
        ------
        DataError
            Where it can't be read.
        """
        return read_gene_list(self.file or "", KEY)

    def most_genes(self, genes: Collection[str], targets: Collection[str]) -> int:
        """Return how many genes will be read: the number of a list, a limit of what scanpy finds.

        Parameters
        ----------
        genes
            All genes of the cells.
        targets
            Perturbed genes, measured or not.
        """
        if self.select == "all":
            return len(genes)
        if self.select == "list":
            return len(self.listed())
        added = len(set(targets) & set(genes)) if self.keep_targets else 0
        return min(len(genes), self.n_top + added)

    def audit(
        self, genes: Sequence[str], targets: Collection[str], *, chosen_before: bool
    ) -> list[Finding]:
        """Find what is wrong with it, or odd.

        Parameters
        ----------
        genes, targets
            As `most_genes` takes them.
        chosen_before
            Whether the cells hold chosen genes alone, as ``data.kwargs.embed_key`` names them.
        """
        if self.select == "list":
            return self._audit_list(genes, targets)
        findings = []
        if self.select == "hvg" and self.n_top >= len(genes):
            text = (
                f"genes.n_top is {self.n_top}, and the cells have {len(genes)} genes: hvg leaves "
                "out none but those that don't vary; lower it, or set genes.select=all"
            )
            findings.append(Finding("warning", "n-top", text))
        if self.select == "hvg" and chosen_before:
            text = (
                f"genes.select=hvg chooses among the {len(genes)} genes that "
                "data.kwargs.embed_key names: those were chosen before, whoever did it, perhaps "
                "with held-out cells too"
            )
            findings.append(Finding("note", "genes-chosen-before", text))
        return findings

    def _audit_list(self, genes: Sequence[str], targets: Collection[str]) -> list[Finding]:
        try:
            names = self.listed()
        except DataError as error:
            return [Finding("error", "gene-list", str(error))]
        findings = audit_genes(names, genes, f"{self.file} ({KEY})") if len(genes) else []
        if unread := sorted(set(targets) & set(genes) - set(names)):
            text = (
                f"{self.file} ({KEY}): {len(unread)} measured targets aren't in the list, so that "
                f"their knockdown is neither predicted nor scored: {listing(unread, 8)}"
            )
            findings.append(Finding("note", "targets-not-listed", text, tuple(unread)))
        return findings


def read_gene_list(path: str, key: str) -> list[str]:
    """Return the names of a text file, a gene a line, as they stand there.

    Parameters
    ----------
    path
        Of the file.
    key
        Key of the config that names it, for the message.

    Raises
    ------
    DataError
        Where it can't be read.
    """
    where = f"{path} ({key})"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{where}: no such file; relative paths start at the working directory"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{where}: no text file (UTF-8) that can be read ({error}); a gene name a line is "
            "what it should hold"
        ) from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


@dataclass(frozen=True)
class ChosenGenes:
    """The selection of a run, as `select_genes` wrote it down.

    Attributes
    ----------
    names
        The genes, in the store's order.
    digest
        Of the names.
    sentence
        How many they are, and how they were chosen.
    """

    names: tuple[str, ...]
    digest: str
    sentence: str

    @classmethod
    def read(cls, path: Path) -> ChosenGenes:
        """Read a selection.

        Raises
        ------
        DataError
            Where the file isn't one.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(content["genes"]), content["digest"], content["sentence"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a selection of genes ({error}); make it anew") from error


def genes_digest(path: Path) -> str:
    """Return the digest of the genes in a selection."""
    return ChosenGenes.read(path).digest
