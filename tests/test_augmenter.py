import random

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.training import Corpus, Example
from spacy.util import registry

from spacy_goback.annotations import make_doc
from spacy_goback.augmenter import KINDS, field_noise
from spacy_goback.markup import parse
from spacy_goback.tokenizer import blank

NLP = blank()
LINES = [
    "Loc 3: [[16 ft|MEASURE]] [[clearance|SPECIFICATION]] over [[street|LOCATION]], "
    "[[G.O. 95|STANDARD]] requires [[18 ft|MEASURE]].",
    "[[Transformer|EQUIPMENT]] with [[8'-6\"|MEASURE]] "
    "at the [[railroad|LOCATION]], [[12kV|MEASURE]].",
    "No one home; will return.",
]


def examples() -> list[Example]:
    docs = [make_doc(parse(line), NLP) for line in LINES]
    return [Example(NLP.make_doc(doc.text), doc) for doc in docs]


def spans(doc: Doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]


@given(st.integers(), st.sampled_from([*KINDS, "all"]))
def test_entities_keep_their_labels_and_order(seed: int, kind: str) -> None:
    random.seed(seed)
    only = {name: float(kind in (name, "all")) for name in KINDS}
    augment = field_noise(1.0, only)
    for _ in range(3):
        for example in examples():
            (noised,) = augment(NLP, example)
            labels = [label for _, label in spans(noised.reference)]
            assert labels == [label for _, label in spans(example.reference)]
            assert noised.predicted.text == noised.reference.text
            assert not any(text != text.strip() for text, _ in spans(noised.reference))


def test_most_texts_change_at_full_level_and_none_at_zero() -> None:
    random.seed(0)
    changed = {level: 0 for level in (0.0, 1.0)}
    for level in changed:
        augment = field_noise(level)
        for _ in range(50):
            for example in examples():
                (noised,) = augment(NLP, example)
                changed[level] += noised.reference.text != example.reference.text
    assert changed[0.0] == 0 and changed[1.0] > 100


def test_swapped_entities_come_from_the_same_label() -> None:
    random.seed(0)
    augment = field_noise(1.0, dict.fromkeys(KINDS, 0.0) | {"swap": 1.0})
    known = {pair for example in examples() for pair in spans(example.reference)}
    found, texts = set(), set()
    for _ in range(40):
        for example in examples():
            (noised,) = augment(NLP, example)
            found |= set(spans(noised.reference))
            texts.add(noised.reference.text)
    assert found == known and len(texts) > 20


def test_documents_survive_and_unmarked_texts_pass() -> None:
    doc = examples()[0].reference
    doc.user_data["record"] = {"meta": {"document": "d"}, "hashes": {}}
    random.seed(1)
    (noised,) = field_noise(1.0, {"case": 1.0})(NLP, Example(NLP.make_doc(doc.text), doc))
    assert noised.reference.text != doc.text
    assert noised.reference.user_data["record"]["meta"] == {"document": "d"}
    unmarked = NLP.make_doc(doc.text)
    example = Example(NLP.make_doc(doc.text), unmarked)
    assert list(field_noise(1.0)(NLP, example)) == [example]


def test_a_corpus_reader_takes_it_by_name(tmp_path: object) -> None:
    augment = registry.augmenters.get("goback.field_noise.v1")(level=1.0, kinds={"case": 1.0})
    path = f"{tmp_path}/a.spacy"
    spacy.tokens.DocBin(docs=[e.reference for e in examples()]).to_disk(path)
    random.seed(0)
    first = [e.reference.text for e in Corpus(path, augmenter=augment)(NLP)]
    again = [e.reference.text for e in Corpus(path, augmenter=augment)(NLP)]
    assert len(first) == len(LINES) and first != again


@pytest.mark.parametrize(
    ("level", "kinds", "reason"),
    [(1.5, None, "between 0 and 1"), (0.5, {"case": -1}, "between"), (0.5, {"x": 1}, "unknown")],
)
def test_bad_settings_are_refused(level: float, kinds: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        field_noise(level, kinds)
