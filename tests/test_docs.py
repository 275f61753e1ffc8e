"""What the documents quote is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, *ROOT.glob("*.md"), ROOT / "config" / "README.md"]


def source() -> str:
    """Return all texts of the code, those that are broken over lines joined."""
    files = [*(ROOT / "workflow_scripts").rglob("*.py"), *(ROOT / "rules").glob("*.smk")]
    text = "\n".join(path.read_text() for path in files)
    joined = re.sub(r'"\s*\n\s*f?"', "", text)
    return re.sub(r"\{[^{}\n]*\}", "\0", joined)


def test_messages_that_people_look_up_are_those_of_the_code():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(quoted) >= 15
    there = source()
    filled = {text: re.escape(text).replace("…", ".{0,60}?") for text in quoted}
    assert [text for text, pattern in filled.items() if not re.search(pattern, there)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_documents_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_both_readmes_have_the_same_commands_and_files():
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))

    def commands(page: str) -> list[str]:
        blocks = re.findall(r"```(?:bash|toml|yaml)\n(.*?)```", page, re.DOTALL)
        lines = [
            line.partition("  #")[0].rstrip() for block in blocks for line in block.split("\n")
        ]
        return [line.replace(" --lang zh", "") for line in lines]

    def left_by_a_run(page: str) -> list[str]:
        cells = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]

    assert commands(english) == commands(chinese)
    assert left_by_a_run(english) == left_by_a_run(chinese)
    assert english.count("\n## ") == chinese.count("\n## ")
