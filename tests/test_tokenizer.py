from pathlib import Path

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language

from spacy_goback.tokenizer import create_tokenizer


def make() -> Language:
    nlp = spacy.blank("en")
    nlp.tokenizer = create_tokenizer()(nlp)
    return nlp


NLP = make()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("rated 12kV.", "12kV"),
        ("at 12 kV.", "12 kV"),
        ("pole 18ft tall", "18ft"),
        ("arm at 8'-6\".", "8'-6\""),
        ("attach 17ft9in up", "17ft9in"),
        ("(18 in.)", "18 in."),
        ("depth 18 in.", "18 in"),
        ("over 22,500 volts,", "22,500 volts"),
        ("the 336.4 kcmil/MCM", "336.4 kcmil"),
        ("per G.O.95/128", "G.O.95"),
        ("Rule 54.8-B2.", "Rule 54.8-B2"),
        ('"pole"', "pole"),
        ("cable (.5 in)", ".5 in"),
        ("wood_pole", "pole"),
    ],
)
def test_spans_that_annotators_draw_can_be_expressed(text: str, span: str) -> None:
    start = text.index(span)
    found = NLP.make_doc(text).char_span(start, start + len(span))
    assert found is not None and found.text == span


def test_numbers_stay_whole() -> None:
    assert [t.text for t in NLP.make_doc("12,470 V 336.4")] == ["12,470", "V", "336.4"]


@given(st.text())
def test_text_is_never_lost(text: str) -> None:
    assert NLP.make_doc(text).text == text


@given(st.integers(0, 99999), st.sampled_from(["ft", "kV", "in", "V", "psi", "A"]))
def test_a_unit_never_sticks_to_its_number(number: int, unit: str) -> None:
    assert [t.text for t in NLP.make_doc(f"{number}{unit}")] == [str(number), unit]


def test_it_is_registered_and_round_trips(tmp_path: Path) -> None:
    nlp = spacy.blank("en", config={"nlp": {"tokenizer": {"@tokenizers": "goback.tokenizer.v1"}}})
    nlp.to_disk(tmp_path)
    text = 'set 8\'-6" deep, 12kV. "x"'
    words = [t.text for t in NLP.make_doc(text)]
    assert [t.text for t in spacy.load(tmp_path)(text)] == words
    assert [t[1] for t in nlp.tokenizer.explain(text)] == words
