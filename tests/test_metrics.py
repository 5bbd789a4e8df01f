import pytest
import spacy
from spacy.scorer import Scorer
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_goback.metrics import (
    NOTHING,
    confusion,
    confusion_table,
    mistakes,
    score,
    score_table,
)
from spacy_goback.pages import colored, render, render_differences

NLP = spacy.blank("en")


def doc(*spans: tuple[int, int, str]) -> Doc:
    made = NLP.make_doc("one two three four five six")
    made.set_ents([Span(made, a, b, label) for a, b, label in spans])
    return made


PAIRS = [
    (doc((0, 1, "A"), (2, 4, "B")), doc((0, 1, "A"), (2, 5, "B"))),
    (doc((0, 1, "A")), doc((0, 1, "B"))),
    (doc((5, 6, "C")), doc()),
    (doc(), doc((1, 2, "A"))),
]


def test_scores_agree_with_spacys_own() -> None:
    ours = score(PAIRS)
    examples = [Example(predicted, gold) for predicted, gold in PAIRS]
    theirs = Scorer.score_spans(examples, "ents")
    assert ours["all"].f1 == pytest.approx(theirs["ents_f"])
    assert ours["all"].precision == pytest.approx(theirs["ents_p"])
    assert ours["all"].recall == pytest.approx(theirs["ents_r"])
    for label, values in theirs["ents_per_type"].items():
        assert ours[label].f1 == pytest.approx(values["f"])
    assert ours["A"].gold == 2


def test_confusion_pairs_overlapping_entities() -> None:
    counts = confusion(PAIRS)
    assert counts == {
        ("A", "A"): 1,
        ("B", "B"): 1,
        ("B", "A"): 1,
        (NOTHING, "C"): 1,
        ("A", NOTHING): 1,
    }


def test_tables_are_markdown() -> None:
    assert "| A | 0.500 | 0.500 | 0.500 | 2 |" in score_table(score(PAIRS))
    rows = confusion_table(confusion(PAIRS)).splitlines()
    assert rows[0].split(" | ")[-1] == f"{NOTHING} |" and len({r.count("|") for r in rows}) == 1


def test_pages_show_every_entity_and_escape_text() -> None:
    page = render([doc((0, 1, "MEASURE"))], "A <b> page")
    assert "A &lt;b&gt; page" in page and "MEASURE" in page and page.count("<html") == 1
    differences = render_differences(PAIRS, "Errors")
    assert "4 of 4 texts differ" in differences
    assert "0 of 1 texts differ" in render_differences([(PAIRS[0][0], PAIRS[0][0])], "Errors")


def test_terminal_text_keeps_the_words_in_order() -> None:
    assert colored(doc((0, 1, "A"), (2, 4, "B"))).plain == "one A two three four B five six"


def test_mistakes_by_kind_the_surest_first() -> None:
    words = ["old", "wood", "pole", "guy", "on", "pole", "at", "curb"]
    predicted, reference = (Doc(NLP.vocab, words=words) for _ in range(2))
    found = [(1, 3, "EQUIPMENT", 0.5), (3, 4, "MATERIAL", 0.7), (5, 6, "EQUIPMENT", 0.99)]
    found += [(0, 1, "GRADE", 0.9), (6, 8, "EQUIPMENT", 0.6)]
    spans = [Span(predicted, start, end, label=label) for start, end, label, _ in found]
    for span, (*_, confidence) in zip(spans, found, strict=True):
        span._.confidence = confidence
    predicted.set_ents(spans)
    gold = [(2, 3, "EQUIPMENT"), (3, 4, "EQUIPMENT"), (5, 6, "EQUIPMENT"), (7, 8, "LOCATION")]
    reference.set_ents([Span(reference, start, end, label=label) for start, end, label in gold])
    rows = [
        (m.kind, m.found.text, [e.text for e in m.gold]) for m in mistakes([(predicted, reference)])
    ]
    assert rows == [
        ("nothing there", "old", []),
        ("label", "guy", ["guy"]),
        ("both", "at curb", ["curb"]),
        ("borders", "wood pole", ["pole"]),
    ]
