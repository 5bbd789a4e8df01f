"""Where ruler and model meet, and what is sure enough."""

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

import spacy_goback
from spacy_goback.confidence import entities

TEXT = "See G.O. 95 Rule 37 for the pole"
Given = tuple[int, int, str, float | None]
RULED: list[Given] = [(1, 6, "STANDARD", None)]


def prepare(doc: Doc, ents: list[Given], ruled: list[Given]) -> Doc:
    """A Doc as the recognizer and the ruler leave it."""
    for name, spans in (("ents", ents), ("ruler", ruled)):
        made = [Span(doc, start, end, label=label) for start, end, label, _ in spans]
        for span, (*_, confidence) in zip(made, spans, strict=True):
            if confidence is not None:
                span._.confidence = confidence
        if name == "ents":
            doc.set_ents(made)
        else:
            doc.spans["ruler"] = made
    return doc


def found(doc: Doc) -> list[tuple[str, str, float]]:
    return [(ent.text, ent.label_, round(ent._.confidence, 3)) for ent in doc.ents]


@pytest.fixture
def nlp() -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("goback_entity_policy", name="policy")
    return nlp


def merge(nlp: Language, ents: list[Given], ruled: list[Given]) -> Doc:
    return nlp.get_pipe("policy")(prepare(nlp.make_doc(TEXT), ents, ruled))


def test_tokens_of_the_text(nlp: Language) -> None:
    words = [token.text for token in nlp.make_doc(TEXT)]
    assert words == ["See", "G.O.", "95", "Rule", "37", "for", "the", "pole"]


def test_the_longer_span_stands(nlp: Language) -> None:
    doc = merge(
        nlp, [(1, 3, "STANDARD", 0.9), (7, 8, "EQUIPMENT", 0.8)], [(1, 5, "STANDARD", None)]
    )
    assert found(doc) == [("G.O. 95 Rule 37", "STANDARD", 0.5), ("pole", "EQUIPMENT", 0.8)]
    doc = merge(nlp, [(1, 5, "STANDARD", 0.6)], [(1, 3, "STANDARD", None), (3, 5, "SECTION", None)])
    assert found(doc) == [("G.O. 95 Rule 37", "STANDARD", 0.6)]
    assert "ruler" not in doc.spans


def test_of_two_as_long_the_surer_stands(nlp: Language) -> None:
    ruled: list[Given] = [(3, 5, "STANDARD", None)]
    assert found(merge(nlp, [(3, 5, "SECTION", 0.7)], ruled)) == [("Rule 37", "SECTION", 0.7)]
    nlp.get_pipe("policy").cfg = {"right": 17, "all": 18}
    assert found(merge(nlp, [(3, 5, "SECTION", 0.7)], ruled)) == [("Rule 37", "STANDARD", 0.9)]


def test_where_they_agree_the_model_says_how_sure(nlp: Language) -> None:
    both = merge(nlp, [(1, 5, "STANDARD", 0.97)], [(1, 5, "STANDARD", None)])
    assert found(both) == [("G.O. 95 Rule 37", "STANDARD", 0.97)]


def test_a_model_that_never_says_loses_only_ties(nlp: Language) -> None:
    doc = merge(
        nlp, [(7, 8, "EQUIPMENT", None), (3, 5, "SECTION", None)], [(3, 5, "STANDARD", None)]
    )
    assert [(e.text, e.label_) for e in doc.ents] == [
        ("Rule 37", "STANDARD"),
        ("pole", "EQUIPMENT"),
    ]


def test_the_rulers_confidence_is_measured(nlp: Language) -> None:
    policy = nlp.get_pipe("policy")
    assert policy.ruler_confidence == 0.5
    cases: list[tuple[list[Given], list[Given], list[Given]]] = [
        ([], [(1, 5, "STANDARD", None)], [(1, 5, "STANDARD", None)]),  # added, right
        (
            [(1, 3, "STANDARD", 0.9)],
            [(1, 5, "STANDARD", None)],
            [(1, 3, "STANDARD", None)],
        ),  # wrong
        ([(1, 5, "STANDARD", 0.9)], [(1, 5, "STANDARD", None)], []),  # no opinion of its own
        ([(1, 6, "STANDARD", 0.9)], [(3, 5, "STANDARD", None)], [(3, 5, "STANDARD", None)]),  # lost
        ([], [(3, 5, "SECTION", None)], [(3, 5, "SECTION", None)]),  # added, right
    ]
    policy.calibrate(
        Example(prepare(nlp.make_doc(TEXT), ents, ruled), prepare(nlp.make_doc(TEXT), gold, []))
        for ents, ruled, gold in cases
    )
    assert policy.cfg == {"right": 2, "all": 3}
    assert policy.ruler_confidence == pytest.approx(3 / 5)


def test_a_threshold_in_the_config_drops_what_is_not_sure(nlp: Language) -> None:
    strict = spacy.blank("en")
    strict.add_pipe("goback_entity_policy", name="policy", config={"min_confidence": 0.6})
    doc = merge(
        strict, [(7, 8, "EQUIPMENT", 0.59), (3, 5, "STANDARD", 0.6)], [(1, 3, "GRADE", None)]
    )
    assert found(doc) == [("Rule 37", "STANDARD", 0.6)]
    with pytest.raises(ValueError, match="0 to 1, not 90"):
        strict.add_pipe("goback_entity_policy", name="other", config={"min_confidence": 90})


def test_a_threshold_in_a_call(nlp: Language) -> None:
    ents: list[Given] = [(1, 3, "STANDARD", None), (3, 5, "SECTION", 0.9), (7, 8, "EQUIPMENT", 0.2)]
    doc = prepare(nlp.make_doc(TEXT), ents, [])
    assert spacy_goback.entities is entities
    assert [e.text for e in entities(doc)] == ["G.O. 95", "Rule 37", "pole"]
    assert [e.text for e in entities(doc, min_confidence=0.9)] == ["Rule 37"]
    with pytest.raises(ValueError, match="a probability"):
        entities(doc, min_confidence=1.5)


def test_confidences_survive_a_docbin(nlp: Language) -> None:
    doc = merge(nlp, [(7, 8, "EQUIPMENT", 0.8)], [(1, 5, "STANDARD", None)])
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (again,) = DocBin().from_bytes(data).get_docs(nlp.vocab)
    assert found(again) == found(doc)


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_round_trip(nlp: Language, tmp_path: Path, way: str) -> None:
    policy = nlp.get_pipe("policy")
    policy.cfg = {"right": 8, "all": 9}
    if way == "disk":
        nlp.to_disk(tmp_path)
        again = spacy.load(tmp_path)
    else:
        again = spacy.blank("en")
        again.add_pipe("goback_entity_policy", name="policy")
        again.from_bytes(nlp.to_bytes())
    assert again.get_pipe("policy").cfg == {"right": 8, "all": 9}
