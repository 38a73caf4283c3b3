"""What holds for every HTML page: a screen reader can read it, and it loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "link", "br"}


class Tree(HTMLParser):
    """Every element with its attributes, its ancestors and its own text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], tuple[int, ...]]] = []
        self.texts: dict[int, str] = {}
        self.open: list[int] = []
        self.feed(text)
        assert not self.open, [self.elements[at][0] for at in self.open]

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes), tuple(self.open)))
        if name not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, name):
        assert self.elements[self.open.pop()][0] == name

    def handle_data(self, text):
        for at in self.open:
            self.texts[at] = self.texts.get(at, "") + text

    def all(self, name):
        return [(at, attributes) for at, (each, attributes, _) in enumerate(self.elements) if each == name]

    def within(self, at, name):
        return [inner for inner, _ in self.all(name) if at in self.elements[inner][2]]


def check(text: str) -> Tree:
    """Check a page; its tree."""
    tree = Tree(text)
    attributes = [given for _, given, _ in tree.elements]
    assert [at for at, given in tree.all("html") if given.get("lang") == "en"]
    assert len(tree.all("h1")) == 1
    levels = [int(name[1]) for name, _, _ in tree.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [given["id"] for given in attributes if "id" in given]
    assert len(ids) == len(set(ids)), "ids are unique"
    for given in attributes:
        for key in ("aria-labelledby", "aria-describedby"):
            assert set((given.get(key) or "").split()) <= set(ids)
    for at, given in tree.all("svg"):
        assert given["role"] == "img"
        assert given["aria-labelledby"]
        assert all(tree.texts[inner].strip() for kind in ("title", "desc") for inner in tree.within(at, kind))
        assert tree.within(at, "title")
        assert tree.within(at, "desc")
    for at, _ in tree.all("table"):
        assert [caption for caption in tree.within(at, "caption") if tree.texts[caption].strip()]
    assert all(given.get("scope") in ("col", "row") for _, given in tree.all("th"))
    assert all(tree.texts.get(at, "").strip() for at, _ in tree.all("a"))
    assert not tree.all("script")
    assert not tree.all("img")
    assert "default-src 'none'" in text
    for given in attributes:
        assert not set(given) & {"src", "srcset", "onclick", "onload"}
    assert all(given["href"].startswith("data:") for _, given in tree.all("link"))
    assert "url(" not in text
    assert "@import" not in text
    return tree
