from typing import Any

import pytest
import srsly
from hypothesis import given
from hypothesis import strategies as st

from spacy_goback.annotations import (
    AnnotationError,
    Entity,
    Record,
    join,
    make_doc,
    pieces,
    problems,
    read_jsonl,
    record_from_doc,
    record_from_json,
    to_prodigy,
)
from spacy_goback.tokenizer import blank

NLP = blank()
TEXT = "18 ft clearance over street"


def record(*entities: tuple[int, int, str], text: str = TEXT, document: str = "d") -> Record:
    return Record(text, [Entity(*e) for e in entities], meta={"document": document}, where="f:1")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record((0, 4, "MEASURE")), "'18 f' cuts a token in two"),
        (record((0, 6, "MEASURE")), "'18 ft ' begins or ends with a blank"),
        (record((0, 5, "LENGTH")), "'18 ft' has an unknown label"),
        (record((0, 5, "MEASURE"), (3, 15, "SPECIFICATION")), "overlaps the span before it"),
        (record((0, 99, "MEASURE")), "outside the text of 27 characters"),
        (record((5, 5, "MEASURE")), "outside the text"),
        (record(text="  "), "the text is empty"),
    ],
)
def test_problems_say_where_and_why(bad: Record, reason: str) -> None:
    found = list(problems(bad, NLP))
    assert len(found) == 1 and found[0].startswith("f:1: ") and reason in found[0]


def test_a_good_record_has_no_problems() -> None:
    assert list(problems(record((0, 5, "MEASURE"), (6, 15, "SPECIFICATION")), NLP)) == []


@pytest.mark.parametrize(
    "value",
    [
        {"text": TEXT, "spans": [{"start": 0, "end": 5, "label": "MEASURE"}], "answer": "accept"},
        {"text": TEXT, "ents": [{"start": 0, "end": 5, "label": "MEASURE"}], "tokens": []},
        {"text": TEXT, "entities": [[0, 5, "MEASURE"]]},
    ],
)
def test_every_kind_of_json_is_read(value: dict[str, Any]) -> None:
    assert record_from_json(value, "f:1").entities == [Entity(0, 5, "MEASURE")]


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"txt": "a"},
        {"text": 3},
        {"text": "a", "spans": [{"start": 1}]},
        {"text": "a", "spans": [{"start": 0, "end": 1, "label": None}]},
        {"text": "a", "answer": "perhaps"},
        {"text": "a", "meta": "audit"},
        {"text": "ab", "tokens": [{"text": "b", "start": 0, "end": 1, "id": 0}]},
        {
            "text": "a b",
            "tokens": [
                {"text": "a", "start": 0, "end": 1, "id": 0},
                {"text": "b", "start": 2, "end": 3, "id": 1},
            ],
            "spans": [{"start": 0, "end": 1, "token_start": 1, "token_end": 1, "label": "TEST"}],
        },
    ],
)
def test_other_json_is_refused_with_its_line(value: Any) -> None:
    with pytest.raises(AnnotationError, match=r"^f:7: "):
        record_from_json(value, "f:7")


def test_a_broken_line_is_named(tmp_path: Any) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "a"}\n\n{"text": \n')
    with pytest.raises(AnnotationError, match=r"a\.jsonl:3: no JSON"):
        read_jsonl(file)


def test_rare_line_ends_are_no_line_ends(tmp_path: Any) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one\u2028two"}\n', "utf8")
    assert [r.text for r in read_jsonl(file)] == ["one\u2028two"]


def test_characters_are_the_truth_and_tokens_must_agree() -> None:
    with pytest.raises(AnnotationError, match="f:1: '18 f' does not fall on token boundaries"):
        make_doc(record((0, 4, "MEASURE")), NLP)
    with pytest.raises(AnnotationError, match="f:1: spans overlap"):
        make_doc(record((0, 5, "MEASURE"), (0, 15, "MEASURE")), NLP)


@given(st.data())
def test_docs_and_prodigy_round_trip(data: st.DataObject) -> None:
    words = data.draw(
        st.lists(st.sampled_from(["pole", "18ft", "12kV.", "G.O.", "(x)"]), min_size=1)
    )
    text = " ".join(words)
    doc = NLP.make_doc(text)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(doc)), max_size=6)))
    spans = [doc[a:b] for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    entities = [Entity(s.start_char, s.end_char, "TEST") for s in spans]
    original = Record(text, entities, meta={"document": "d"}, hashes={"_input_hash": 7})
    assert record_from_doc(make_doc(original, NLP)).entities == entities
    again = record_from_json(srsly.json_loads(srsly.json_dumps(to_prodigy(original, NLP))), "x")
    assert (again.text, again.entities, again.meta, again.hashes) == (
        original.text,
        original.entities,
        original.meta,
        original.hashes,
    )


@given(st.lists(st.tuples(st.text(min_size=1), st.sampled_from(["", "MEASURE", "TEST"]))))
def test_pieces_and_joining_are_inverse(parts: list[tuple[str, str]]) -> None:
    record = join(parts)
    again = join(pieces(record))
    assert (again.text, again.entities) == (record.text, record.entities)
