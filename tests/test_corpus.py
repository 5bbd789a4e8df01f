from pathlib import Path

import pytest

from spacy_goback.annotations import LABELS, Record, problems, read_jsonl
from spacy_goback.corpus import (
    frame,
    frame_problems,
    split_problems,
    wording_problems,
    wordings,
)
from spacy_goback.markup import parse
from spacy_goback.tokenizer import blank

ANNOTATIONS = Path(__file__).parent.parent / "assets" / "annotations"
TEXT = "18 ft clearance over street"


def record(text: str = TEXT, document: str = "d") -> Record:
    return Record(text, [], meta={"document": document}, where="f:1")


def test_leaks_between_splits_are_found() -> None:
    long = "The down guy at pole nine has no strain insulator above the communication space."
    near = "The down guy at pole nine has no strain insulator above the communication level."
    splits = {
        "train": [record(document="a"), record(long, document="a")],
        "dev": [record("Something else entirely", document="a")],
        "test": [record(near, document="b"), record(TEXT.upper(), document="b")],
    }
    found = "\n".join(split_problems(splits))
    assert "document 'a' is also in train" in found
    assert "nearly the same text as" in found
    assert "the same text as f:1" in found


def test_repeats_within_a_split_are_allowed() -> None:
    records = [record("Pole 7 leans over road"), record("Pole 8 leans over road")]
    assert list(split_problems({"train": records})) == []
    long = "The down guy at pole nine has no strain insulator above the communication space."
    near = long.replace("space", "level")
    assert list(split_problems({"train": [record(long), record(near)]})) == []


def test_a_frame_knows_neither_entities_nor_figures() -> None:
    first = parse("Loc 3: [[16 ft|MEASURE]] over [[street|LOCATION]].")
    second = parse("LOC 12 [[four feet|MEASURE]] over [[the track|LOCATION]]")
    assert frame(first) == frame(second) == "loc 0 measure over location"


def test_the_fourth_record_of_a_frame_is_a_template() -> None:
    lines = [f"Pole {i} has no [[guy {i}|EQUIPMENT]]." for i in range(5)]
    records = [parse(line, f"f:{i}") for i, line in enumerate(lines, 1)]
    assert [p.partition(":")[2] for p in frame_problems(records)] == [
        "4: the same frame as f:1, 4 times now.",
        "5: the same frame as f:1, 5 times now.",
    ]
    assert list(frame_problems(records[:3])) == []


def test_one_wording_must_not_hold_a_label() -> None:
    common = parse("[[pole|EQUIPMENT]] and [[Pole|EQUIPMENT]], [[arm|EQUIPMENT]]")
    assert wordings([common])["EQUIPMENT"] == {"pole": 2, "arm": 1}
    assert list(wording_problems({"dev": [common]})) == ["dev: 2 of 3 EQUIPMENT spans are 'pole'."]
    spread = parse("[[a|ZONE]] [[b|ZONE]] [[c|ZONE]] [[c|ZONE]] [[d|ZONE]] [[e|ZONE]]")
    assert list(wording_problems({"dev": [spread]})) == []


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Record]]:
    return {name: read_jsonl(ANNOTATIONS / f"{name}.jsonl") for name in ("train", "dev", "test")}


def test_our_own_corpus_is_sound(splits: dict[str, list[Record]]) -> None:
    nlp = blank()
    everything = [r for records in splits.values() for r in records]
    assert [p for r in everything for p in problems(r, nlp)] == []
    assert [*split_problems(splits), *frame_problems(everything), *wording_problems(splits)] == []


def test_our_own_corpus_is_large_and_spread(splits: dict[str, list[Record]]) -> None:
    everything = [r for records in splits.values() for r in records]
    assert len(everything) >= 2500 and len({r.document for r in everything}) >= 150
    assert min(len(splits["dev"]), len(splits["test"])) >= 400
    for split, least in (("train", 300), ("dev", 60), ("test", 60)):
        found = wordings(splits[split])
        assert min(found[label].total() for label in LABELS) >= least
    assert 0.08 <= sum(not r.entities for r in everything) / len(everything) <= 0.12
    off = sum(r.meta["source"] == "off-domain" for r in everything)
    assert off / len(everything) >= 0.05


def test_readings_are_of_the_same_texts_as_the_split(splits: dict[str, list[Record]]) -> None:
    for split in ("dev", "test"):
        texts = [r.text for r in splits[split]]
        for reader in ("a", "b", "author"):
            reading = read_jsonl(ANNOTATIONS / "readings" / f"{split}-{reader}.jsonl")
            assert [r.text for r in reading] == texts


def test_pretraining_text_is_far_from_dev_and_test(splits: dict[str, list[Record]]) -> None:
    texts = [path.read_text() for path in (ANNOTATIONS.parent / "pretraining").glob("*.txt")]
    lines = "\n".join(texts).split("\n")
    text = [record(line, "trade") for line in lines if line]
    assert len(texts) == 2 and len(text) > 5000
    assert list(split_problems({"trade": text, **{s: splits[s] for s in ("dev", "test")}})) == []
