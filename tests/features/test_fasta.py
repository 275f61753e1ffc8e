"""Sequences are found by gene symbol in the FASTA files that there are, and read in windows."""

from __future__ import annotations

import gzip

import pytest

from workflow_scripts.errors import DataError
from workflow_scripts.features.proteins import read_fasta, windows


def test_headers_of_all_sources_give_gene_symbols(tmp_path):
    path = tmp_path / "p.fa.gz"
    with gzip.open(path, "wt") as file:
        file.write(
            ">sp|P04637|P53_HUMAN Tumor antigen OS=Homo sapiens OX=9606 GN=TP53 PE=1 SV=4\nMEEP\n"
            "QSD\n>ENSP1 pep gene_symbol:CDKN1A description:x\nMSEPAG*\n"
            ">lcl|NM_1 [gene=HLA-A] [protein=x]\nmav\n>RIOX1 hand made\nMJ*K\n"
            ">tr|Q1|Q1_HUMAN nameless\nMM\n>TP53 an isoform\nMEE\n\n"
        )
    found = read_fasta(path)
    assert found.sequences == {
        "TP53": "MEEPQSD",
        "CDKN1A": "MSEPAG",
        "HLA-A": "MAV",
        "RIOX1": "MXXK",
    }
    assert found.n_isoforms == 1
    assert found.unnamed == ["tr|Q1|Q1_HUMAN nameless"]
    assert found.replaced == ["RIOX1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; features.embedding.fasta"),
        ("", "holds no sequence"),
        ("MEEP\n", r"p\.fa:1: no FASTA file"),
        (">TP53\n>CDKN1A\nM\n", "the sequence of TP53 is empty"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "p.fa").write_text(content)
    with pytest.raises(DataError, match=message):
        read_fasta(tmp_path / "p.fa")


@pytest.mark.parametrize("length", [1, 63, 64, 65, 96, 97, 1000])
def test_windows_cover_every_residue_and_none_is_longer(length):
    spans = windows(length, 64)
    assert {at for start, stop in spans for at in range(start, stop)} == set(range(length))
    assert all(stop - start <= 64 for start, stop in spans)
    assert len(set(spans)) == len(spans)


@pytest.mark.parametrize(
    ("content", "sequence"),
    [
        (b"\xef\xbb\xbf>TP53\nMEEP\n", "MEEP"),
        (b">TP53 caf\xe9\r\nMEEP\r\nQSD\r\n", "MEEPQSD"),
        (b"; a comment\n>TP53\nMEEP\n", "MEEP"),
        (b">TP53\nMEE PQS D\n", "MEEPQSD"),
        (b">TP53\nME-EP..\n", "MEEP"),
        (b">ENSP1.1|ENST1.1|ENSG1.1|OTTHUMG1.1|OTTHUMT1.1|TP53-201|TP53|4\nMEEP\n", "MEEP"),
        (gzip.compress(b">TP53\nMEEP\n", mtime=0), "MEEP"),
    ],
)
@pytest.mark.parametrize("name", ["p.fa", "p.fa.gz"])
def test_what_surrounds_a_sequence_does_not_matter(tmp_path, name, content, sequence):
    (tmp_path / name).write_bytes(content)
    found = read_fasta(tmp_path / name)
    assert found.sequences == {"TP53": sequence}
    assert found.replaced == []


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    content = bytearray(gzip.compress(b">TP53\nMEEPQSD\n" * 99, mtime=0))
    content = content[:-12] if damage == "cut" else content[:20] + b"\xff\xff" + content[22:]
    (tmp_path / "p.fa.gz").write_bytes(content)
    with pytest.raises(DataError, match="not a readable FASTA file"):
        read_fasta(tmp_path / "p.fa.gz")


def test_nucleotides_are_no_proteins(tmp_path):
    """Their letters are amino acids too, and Ensembl's cdna files have the same headers as pep."""
    (tmp_path / "p.fa").write_text(
        f">ENST1 cdna gene_symbol:TP53\n{'ATGGAGGAGCCGCAGTCAGATN' * 9}\n"
    )
    with pytest.raises(DataError, match="holds nucleotides, not proteins: 100% of its letters"):
        read_fasta(tmp_path / "p.fa")


def test_a_file_without_any_gene_symbol_is_refused(tmp_path):
    (tmp_path / "p.fa").write_text(">sp|P04637|P53_HUMAN\nMEEP\n")
    with pytest.raises(DataError, match=r"no header has a gene symbol; .* 'sp\|P04637.*; add one"):
        read_fasta(tmp_path / "p.fa")
