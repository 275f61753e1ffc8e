"""Lists of genes that name what there isn't."""

from __future__ import annotations

from tests.preflight.broken import Broken
from tests.preflight.good_run import GENES, Inputs


def listed(text: str | bytes | None):
    """Ask for a list of genes; None: a list that isn't there."""

    def spoil(inputs: Inputs) -> None:
        file = inputs.folder / "genes.txt"
        if text is not None:
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        path = f"{inputs.folder.name}/genes.txt"
        inputs.config(lambda config: config.update(genes={"select": "list", "file": path}))

    return spoil


CASES = {
    "gene list: missing": Broken(
        listed(None),
        "gene-list",
        ("run/genes.txt (genes.file): no such file", "start at the working directory"),
    ),
    "gene list: no text": Broken(
        listed(b"\x89HDF\r\n\x1a\n\xff\xfe"),
        "gene-list",
        ("run/genes.txt (genes.file): no text file", "a gene name a line"),
    ),
    "gene list: nothing but comments": Broken(
        listed("# genes of mine\n\n"),
        "no-gene-named",
        ("run/genes.txt (genes.file): names no gene", "genes.select=all"),
    ),
    "gene list: names of no gene": Broken(
        listed("\n".join(("gene_name", "G7", *GENES[:20]))),
        "unknown-genes",
        ("genes.file): 2 of 22 names are no gene of the cells", "G7 (did you mean g7?)"),
    ),
    "gene list: a name twice": Broken(
        listed("\n".join((*GENES[:20], "g3"))),
        "genes-named-twice",
        ("run/genes.txt (genes.file): 1 genes are named twice: g3; name each once",),
    ),
}
