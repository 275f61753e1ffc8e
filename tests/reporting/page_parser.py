"""A page as tests ask about it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img", "hr", "wbr"}
LOADS = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """What the tests ask of a page: ids, references, tags, and the text of each section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[tuple[str, str, str]] = []
        self.values: list[str] = []
        self.tags: list[str] = []
        self.text: dict[str, str] = {}
        self.classes: dict[str, set[str]] = {}
        self.cells: list[list[str]] = []
        self.open: list[str] = []
        self._section = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        named = {name: value or "" for name, value in attrs}
        if tag == "section":
            self._section = named["id"]
            self.text[self._section] = ""
            self.classes[self._section] = set()
        if self._section:
            self.classes[self._section] |= set(named.get("class", "").split())
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")
        if "id" in named:
            self.ids.append(named["id"])
        self.references += [(tag, name, value) for name, value in named.items() if name in LOADS]
        self.values += named.values()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._section:
            self.text[self._section] += data
        if self.open and {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data


def rows(page: Page, heading: str) -> list[list[str]]:
    """Return the rows of the tables that begin with a heading, as words."""
    cleaned = [[" ".join(cell.split()) for cell in row] for row in page.cells]
    return [row for row in cleaned if row and row[0].startswith(heading)]
