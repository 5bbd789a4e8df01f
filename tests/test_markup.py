import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_goback.annotations import AnnotationError, Entity, Record
from spacy_goback.markup import parse, render

PARTS = st.text(st.characters(exclude_characters="[]|\n", exclude_categories=["Cs"]), min_size=1)


def test_a_line_is_read() -> None:
    record = parse("Loc 3: [[16 ft|MEASURE]] over [[street|LOCATION]].", "f:1")
    assert record.text == "Loc 3: 16 ft over street."
    assert record.entities == [Entity(7, 12, "MEASURE"), Entity(18, 24, "LOCATION")]
    assert record.where == "f:1"


@given(st.lists(st.tuples(PARTS, st.sampled_from(["", "MEASURE", "ZONE"]))))
def test_reading_and_writing_are_inverse(parts: list[tuple[str, str]]) -> None:
    text, entities = "", []
    for part, label in parts:
        if label:
            entities.append(Entity(len(text), len(text) + len(part), label))
        text += part
    again = parse(render(Record(text, entities)))
    assert (again.text, again.entities) == (text, entities)


@given(st.text(st.sampled_from("[]|aA 1\n")))
def test_any_line_is_read_or_refused_with_its_place(line: str) -> None:
    try:
        record = parse(line, "f:7")
    except AnnotationError as error:
        assert str(error).startswith("f:7: ")
    else:
        assert "[[" not in record.text and "]]" not in record.text


@pytest.mark.parametrize("line", ["[[pole", "pole]]", "[[pole|]]", "[[|ZONE]]", "[[a|b c]]"])
def test_stray_brackets_are_refused(line: str) -> None:
    with pytest.raises(AnnotationError, match=r"f:1: \[\[ or \]\] is left over"):
        parse(line, "f:1")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record("a\nb", [], where="f:1"), "line breaks"),
        (Record("a [[b|C]]", [], where="f:1"), "line breaks or"),
        (Record("abc", [Entity(0, 2, "X"), Entity(1, 3, "X")], where="f:1"), "overlap"),
    ],
)
def test_what_has_no_markup_is_refused(record: Record, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        render(record)
