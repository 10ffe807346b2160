"""What must hold of every page: balanced tags, unique ids, nothing fetched, no script; and of every summary."""

import html.parser
import itertools
import re

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Checker(html.parser.HTMLParser):
    """Collects what must hold: tags balanced, ids unique, nothing fetched, no script."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headers: list[dict[str, str | None]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        if "id" in given:
            self.ids.append(str(given["id"]))
        self.links += [str(given[name]) for name in ("href", "src", "xlink:href") if name in given]
        if tag == "th":
            self.headers.append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert "script" not in checker.tags
    assert checker.links
    assert all(link.startswith("#") for link in checker.links)
    assert {link[1:] for link in checker.links} <= set(checker.ids)
    assert all("scope" in attributes for attributes in checker.headers)
    return checker


LIST = re.compile(r"(-|\d+\.) ")


def kind_of(line: str) -> str:
    """Which block of Markdown a line belongs to."""
    if line.startswith("|"):
        return "table"
    if LIST.match(line):
        return "list"
    return "heading" if line.startswith("#") else "text" if line else ""


def check_markdown(text: str) -> None:
    """Blocks are held apart by one or two blank lines; the rows of a table have as many cells as its head."""
    assert text.endswith("\n")
    assert "\n\n\n\n" not in text
    lines = text.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    for before, line in zip(["", *lines], lines, strict=False):
        one, two = kind_of(before), kind_of(line)
        assert one == two or not one or not two, f"no blank line between {before!r} and {line!r}"
        assert one != "heading" or not two, f"no blank line below {before!r}"
    cells = [len(re.findall(r"(?<!\\)\|", line)) if kind_of(line) == "table" else 0 for line in lines]
    assert all(a == b for a, b in itertools.pairwise(cells) if a and b)
