from pathlib import Path

import pytest
import srsly

from spacy_goback.annotations import AnnotationError, Entity, Record
from spacy_goback.formats import read, write
from spacy_goback.tokenizer import blank

NLP = blank()
RECORDS = [
    Record(
        "18ft clearance over street .",
        [Entity(0, 4, "MEASURE"), Entity(5, 14, "SPECIFICATION"), Entity(20, 26, "LOCATION")],
        meta={"source": "audit", "document": "a"},
        hashes={"_input_hash": 1, "_task_hash": 2},
    ),
    Record("No comment", [], meta={"source": "audit", "document": "a"}),
    Record("pole pole", [Entity(0, 4, "EQUIPMENT"), Entity(5, 9, "EQUIPMENT")]),
]


def content(records: list[Record]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(r.text, [(r.text[e.start : e.end], e.label) for e in r.entities]) for r in records]


@pytest.mark.parametrize("ending", [".jsonl", ".txt", ".json", ".spacy"])
def test_round_trip(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"a{ending}"
    write(path, RECORDS, NLP)
    assert content(read(path)) == content(RECORDS)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_markup_is_a_document_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "oh-1.txt").write_text("[[18 ft|MEASURE]] over\n\n[[street\n")
    with pytest.raises(AnnotationError, match=r"oh-1\.txt:3: \[\[ or"):
        read(tmp_path / "oh-1.txt")
    (tmp_path / "oh-1.txt").write_text("[[18 ft|MEASURE]] over\n\nstreet\n")
    assert [(r.text, r.document) for r in read(tmp_path / "oh-1.txt")] == [
        ("18 ft over", "oh-1"),
        ("street", "oh-1"),
    ]


@pytest.mark.parametrize("ending", [".jsonl", ".spacy"])
def test_documents_and_hashes_survive(ending: str, tmp_path: Path) -> None:
    write(tmp_path / f"a{ending}", RECORDS, NLP)
    first = read(tmp_path / f"a{ending}")[0]
    assert (first.document, first.hashes) == ("a", {"_input_hash": 1, "_task_hash": 2})


@pytest.mark.parametrize("ending", [".conll", ".iob"])
def test_tags_round_trip_by_tokens(ending: str, tmp_path: Path) -> None:
    write(tmp_path / f"a{ending}", RECORDS, NLP)
    found = content(read(tmp_path / f"a{ending}"))
    # Tags do not say where there was no blank, so "18ft" comes back as two words.
    assert found[0] == (
        "18 ft clearance over street .",
        [("18 ft", "MEASURE"), ("clearance", "SPECIFICATION"), ("street", "LOCATION")],
    )
    assert found[1:] == content(RECORDS)[1:]


def test_iob_with_bars_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.iob").write_text("18|B-MEASURE ft|I-MEASURE high|O\nok|O\n")
    assert content(read(tmp_path / "a.iob")) == [
        ("18 ft high", [("18 ft", "MEASURE")]),
        ("ok", []),
    ]


def test_a_bar_among_the_words_is_a_word(tmp_path: Path) -> None:
    records = [Record("pole | guy", [Entity(0, 4, "EQUIPMENT")])]
    write(tmp_path / "a.conll", records, NLP)
    assert content(read(tmp_path / "a.conll")) == content(records)


def test_spacy_2_training_json_is_read(tmp_path: Path) -> None:
    tokens = [{"orth": "18", "ner": "B-MEASURE"}, {"orth": "ft", "ner": "L-MEASURE"}]
    paragraph = {"raw": "18 ft", "sentences": [{"tokens": tokens}]}
    srsly.write_json(tmp_path / "a.json", [{"id": 0, "paragraphs": [paragraph]}])
    assert content(read(tmp_path / "a.json")) == [("18 ft", [("18 ft", "MEASURE")])]


def test_a_prodigy_export_is_taken_as_it_is(tmp_path: Path) -> None:
    lines = [
        {
            "text": "Pole leans",
            "_input_hash": -5,
            "_task_hash": 6,
            "_view_id": "ner_manual",
            "tokens": [{"text": "Pole", "start": 0, "end": 4, "id": 0, "ws": True}],
            "spans": [
                {"start": 0, "end": 4, "token_start": 0, "token_end": 0, "label": "EQUIPMENT"}
            ],
            "answer": answer,
        }
        for answer in ("accept", "reject", "ignore")
    ]
    srsly.write_jsonl(tmp_path / "a.jsonl", lines)
    records = read(tmp_path / "a.jsonl")
    assert [r.answer for r in records] == ["accept", "reject", "ignore"]
    write(tmp_path / "a.spacy", records, NLP)
    assert content(read(tmp_path / "a.spacy")) == [("Pole leans", [("Pole", "EQUIPMENT")])]
    write(tmp_path / "b.jsonl", records, NLP)
    assert [r.answer for r in read(tmp_path / "b.jsonl")] == ["accept", "reject", "ignore"]


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="there is no such file"):
        read(tmp_path / "a.jsonl")
    with pytest.raises(AnnotationError, match="unknown ending, known are"):
        read(tmp_path / "a.xml")
    with pytest.raises(AnnotationError, match="unknown ending"):
        write(tmp_path / "a.xml", RECORDS, NLP)
    for name in ("a.spacy", "a.json", "a.jsonl"):
        (tmp_path / name).write_bytes(b"\xff\xfe nonsense")
        with pytest.raises(AnnotationError, match=name):
            read(tmp_path / name)
    bad = [Record("18 ft", [Entity(0, 4, "MEASURE")], where="f:3")]
    with pytest.raises(AnnotationError, match="f:3"):
        write(tmp_path / "new.spacy", bad, NLP)
    assert not (tmp_path / "new.spacy").exists()
