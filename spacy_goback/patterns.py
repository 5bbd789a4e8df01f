"""Closed forms that a model should not have to learn: token patterns for the entity ruler.

Patterns are written for `goback.tokenizer.v1`, where "G.O. 95" is the tokens G . O . 95.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import srsly

Token = dict[str, Any]
Pattern = dict[str, Any]

REFERENCE: Token = {"TEXT": {"REGEX": r"^\d+(\.\d+)*$"}}
LETTER: Token = {"TEXT": {"REGEX": r"^[A-Za-z]$"}}
# No blank behind the token.
GLUED: Token = {"SPACY": False}
DASH: Token = {"TEXT": {"IN": ["-", "\u2013"]}}
DOT: Token = {"ORTH": "."}
COMMA: Token = {"ORTH": ",", "OP": "?"}
# General orders of the California commission that crews are held to.
ORDERS = ["26", "52", "64", "72", "95", "118", "128", "131", "143", "159", "165", "166", "174"]
ORDER: Token = {"TEXT": {"IN": ORDERS}}
SECTION_KINDS = ["section", "figure", "fig", "note", "sheet", "step", "page", "photo", "exhibit"]


def general_orders() -> Iterator[list[Token]]:
    """A general order in any spelling.

    Example: "G.O. 95", "GO95", "G.O.95", "General Order No. 128".
    """
    dot = {**DOT, "OP": "?"}
    names: list[list[Token]] = [
        [{"LOWER": "g"}, dot, {"LOWER": "o"}, dot],
        [{"ORTH": {"IN": ["GO", "Go"]}}, dot],
        [{"ORTH": "go", **GLUED}],  # "go95", but not "we go 95 miles"
        [{"LOWER": "general"}, {"LOWER": {"IN": ["order", "orders"]}}],
        [{"LOWER": "general"}, {"LOWER": "order"}, {"LOWER": {"IN": ["no", "number"]}}, dot],
    ]
    yield from ([*name, ORDER] for name in names)


def lettered_orders() -> Iterator[list[Token]]:
    """A general order with a letter behind its number.

    Example: "G.O. 26-D", "GO 64-A".
    """
    for name in general_orders():
        yield [*name[:-1], {**ORDER, **GLUED}, {**DASH, **GLUED}, LETTER]


def published() -> Iterator[list[Token]]:
    """A code or a standard by its publisher and number.

    Example: "NESC", "IEEE 400.2", "ANSI O5.1", "ASTM D1557", "NFPA 70".
    """
    yield [{"ORTH": "NESC"}]
    yield [{"ORTH": {"IN": ["IEEE", "NFPA", "UL", "ICEA"]}}, REFERENCE]
    yield [{"ORTH": {"IN": ["ANSI", "ASTM", "AWPA"]}}, {**LETTER, **GLUED}, REFERENCE]


def references() -> Iterator[list[Token]]:
    """A rule, table or case with its number.

    Example: "Rule 37", "Rule 54.8-B", "Table 232-1", "Rule 250B", "Rule 59.4-A2", "Rule 54.8-B2a".
    """
    kind: Token = {"LOWER": {"IN": ["rule", "rules", "table", "tables", "case"]}}
    number, dash = {**REFERENCE, **GLUED}, {**DASH, **GLUED}
    yield [kind, REFERENCE]
    yield [kind, number, dash, REFERENCE]
    yield [kind, number, LETTER]
    yield [kind, number, dash, LETTER]
    yield [kind, number, dash, {**LETTER, **GLUED}, REFERENCE]
    yield [kind, number, dash, {**LETTER, **GLUED}, number, LETTER]


def column() -> list[Token]:
    """A column of a table.

    Example: "Column E", "Col. D".
    """
    kind: Token = {"LOWER": {"IN": ["column", "col"]}}
    return [kind, {**DOT, "OP": "?"}, {"TEXT": {"REGEX": "^[A-H]$"}}]


def standards() -> Iterator[list[Token]]:
    """An order or code with the parts that follow without a word between, or parts alone.

    Example: "G.O. 95, Rule 37, Table 1, Case 3, Column E", "NESC Rule 232", "Table 1 Case 3".
    """
    names = [*general_orders(), *published()]
    parts = list(references())
    heads = [*names, *([*name, COMMA, *part] for name, part in product(names, parts)), *parts]
    tails: list[list[Token]] = [[COMMA, *parts[0]] * count for count in range(4)]
    for head, tail in product(heads, tails):
        yield [*head, *tail]
        yield [*head, *tail, COMMA, *column()]
    yield column()
    yield from lettered_orders()


def sections() -> Iterator[list[Token]]:
    """A numbered part of the document at hand.

    Example: "Section 4.1.2", "Figure 20", "Note 7", "Fig. 12", "Sheet 3", "Exhibit B".
    """
    kind: Token = {"LOWER": {"IN": SECTION_KINDS}}
    for dot in ([], [DOT]):
        yield [kind, *dot, REFERENCE]
        yield [kind, *dot, {**REFERENCE, **GLUED}, {**DASH, **GLUED}, REFERENCE]
    yield [{"LOWER": {"IN": ["exhibit", "appendix", "section"]}}, {"TEXT": {"REGEX": "^[A-Z]$"}}]


FAMILIES: dict[str, tuple[str, Callable[[], Iterator[list[Token]]]]] = {
    "standards": ("STANDARD", standards),
    "sections": ("SECTION", sections),
}


def family(name: str) -> list[Pattern]:
    """The patterns of one family, as the entity ruler takes them.

    name: a key of `FAMILIES`.
    """
    label, patterns = FAMILIES[name]
    return [{"label": label, "pattern": tokens, "id": name} for tokens in patterns()]


def read_patterns(path: str | Path) -> Sequence[Pattern]:
    """Read `goback.patterns.v1`: every pattern file of a folder, for [initialize].

    path: a folder with *.jsonl, or one such file.
    Raises FileNotFoundError where there is none.
    """
    path = Path(path)
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise FileNotFoundError(f"{path} holds no pattern files (*.jsonl).")
    return [pattern for file in files for pattern in srsly.read_jsonl(file)]
