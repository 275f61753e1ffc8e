"""Protein sequences by gene, from a FASTA file, and the windows that a long one is read in."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.errors import DataError

_GENE = re.compile(r"\bGN=(\S+)|\bgene_symbol:(\S+)|\[gene=([^\]\s]+)\]")
_GENCODE = 8
"""Fields of a GENCODE header, by |; the last but one is the gene's symbol."""

_GAPS = re.compile(r"[\s.-]")
_NUCLEOTIDES = "ACGTUN"
_LETTERS = frozenset("ACDEFGHIKLMNPQRSTVWYXBZUO")
"""What ESM2 knows: the twenty amino acids, U, O, and the ambiguous X, B and Z."""


@dataclass(frozen=True)
class Proteins:
    """The proteins of a FASTA file.

    Attributes
    ----------
    sequences
        Gene symbol to amino acids; of several isoforms the longest, of equally long ones the first.
    n_isoforms
        Sequences that another one of their gene stands for.
    unnamed
        Headers in which no gene symbol was found.
    replaced
        Genes in whose sequence letters that ESM2 doesn't know were read as X.
    """

    sequences: dict[str, str]
    n_isoforms: int
    unnamed: list[str]
    replaced: list[str]


def read_fasta(path: Path) -> Proteins:
    """Read the proteins of a FASTA file (``.gz`` too).

    The gene symbol is ``GN=…`` of a UniProt header, ``gene_symbol:…`` of Ensembl's, ``[gene=…]`` of
    NCBI's, the seventh field of GENCODE's, or else the header's first word. Gaps of an alignment
    are left out.

    Raises
    ------
    DataError
        Where the file is missing, no FASTA file, or one of nucleotides.
    """
    sequences: dict[str, str] = {}
    unnamed, n_isoforms = [], 0
    replaced: set[str] = set()
    for header, raw in _entries(path):
        gene = _gene_of(header)
        if gene is None:
            unnamed.append(header)
            continue
        sequence = _GAPS.sub("", raw).upper().rstrip("*")
        if not sequence:
            raise DataError(
                f"{path}: the sequence of {gene} is empty; fetch the file anew, or take it out"
            )
        known = "".join(letter if letter in _LETTERS else "X" for letter in sequence)
        if gene in sequences:
            n_isoforms += 1
            if len(known) <= len(sequences[gene]):
                continue
        (replaced.discard if known == sequence else replaced.add)(gene)
        sequences[gene] = known
    if not sequences:
        raise DataError(
            f"{path}: no header has a gene symbol; the first is {unnamed[0]!r}; add one to each, "
            "as GN=TP53"
        )
    _refuse_nucleotides(sequences.values(), path)
    return Proteins(sequences, n_isoforms, unnamed, sorted(replaced))


def windows(length: int, size: int) -> list[tuple[int, int]]:
    """Return the windows (start, stop) in which a protein is read.

    A protein of up to ``size`` residues is one window. A longer one has windows of ``size`` that
    begin half a window apart, the last one at the protein's end.
    """
    if length <= size:
        return [(0, length)]
    starts = list(range(0, length - size, max(1, size // 2)))
    return [(start, start + size) for start in [*starts, length - size]]


def _refuse_nucleotides(sequences: Collection[str], path: Path) -> None:
    """Raise a DataError for DNA or RNA: its letters are amino acids too, a quarter of proteins'."""
    total = sum(map(len, sequences))
    count = sum(sequence.count(letter) for sequence in sequences for letter in _NUCLEOTIDES)
    if total >= 30 and count > 0.9 * total:
        raise DataError(
            f"{path}: holds nucleotides, not proteins: {count / total:.0%} of its letters are "
            f"{', '.join(_NUCLEOTIDES)}; features.embedding.fasta names amino acids (of Ensembl's "
            "files pep, not cdna)"
        )


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; features.embedding.fasta names it (protein FASTA)")
    header: str | None = None
    lines: list[str] = []
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        # Headers may be in any encoding: the gene symbol is ASCII.
        text = (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", errors="replace")
        with text as file:
            for number, line in enumerate(map(str.strip, file), 1):
                if line.startswith(">"):
                    if header is not None:
                        yield header, "".join(lines)
                    header, lines = line[1:].strip(), []
                elif line.startswith(";"):
                    continue  # a comment of old
                elif line and header is None:
                    raise DataError(f"{path}:{number}: no FASTA file: a header begins with >")
                else:
                    lines.append(line)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a readable FASTA file: {error}") from error
    if header is None:
        raise DataError(f"{path}: holds no sequence; it must be a FASTA file of proteins")
    yield header, "".join(lines)


def _gene_of(header: str) -> str | None:
    if found := _GENE.search(header):
        return next(group for group in found.groups() if group)
    word = header.split(maxsplit=1)[0] if header else ""
    fields = word.split("|")
    if len(fields) == _GENCODE and fields[0].startswith("ENS"):
        return fields[-2] or None
    return word if word and "|" not in word else None
