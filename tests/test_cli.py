from pathlib import Path

import pytest
import srsly
from conftest import TEXTS, build, train
from spacy.language import Language
from typer.testing import CliRunner

from spacy_goback.cli import app, write_text

RUN = CliRunner()


@pytest.fixture
def model(trained: Language, tmp_path: Path) -> str:
    trained.to_disk(tmp_path / "model")
    return str(tmp_path / "model")


def test_entities_in_terminal_page_and_json(model: str, tmp_path: Path) -> None:
    audit = tmp_path / "audit.txt"
    audit.write_text("18 ft clearance over street\n\nNo comment.\n")
    page, lines = tmp_path / "out" / "a.html", tmp_path / "out" / "a.jsonl"
    options = ["--model", model, "--html", str(page), "--jsonl", str(lines)]
    done = RUN.invoke(app, ["entities", str(audit), *options])
    assert done.exit_code == 0, done.output
    assert "No comment." in done.output
    assert "Entities of audit.txt" in page.read_text()
    rows = list(srsly.read_jsonl(lines))
    assert [row["text"] for row in rows] == ["18 ft clearance over street", "No comment."]
    for row in rows:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]


def test_what_is_not_sure_enough_is_left_out(encoder: Path, tmp_path: Path) -> None:
    nlp = build(encoder, recognizer="goback_ner")
    train(nlp, steps=30)
    nlp.to_disk(tmp_path / "model")
    found = {}
    for threshold in ("0", "0.9", "1"):
        target = tmp_path / f"{threshold}.jsonl"
        options = ["--model", str(tmp_path / "model"), "--jsonl", str(target)]
        options += ["--min-confidence", threshold]
        done = RUN.invoke(app, ["entities", "-", *options], input="\n".join(TEXTS))
        assert done.exit_code == 0, done.output
        found[threshold] = [
            e["confidence"] for r in srsly.read_jsonl(target) for e in r["entities"]
        ]
    assert len(found["0"]) > len(found["0.9"]) > 0
    assert found["0.9"] == [c for c in found["0"] if c >= 0.9]
    assert RUN.invoke(app, ["entities", "-", "--min-confidence", "90"]).exit_code == 2


def test_standard_input(model: str) -> None:
    done = RUN.invoke(app, ["entities", "-", "--model", model], input="Pole 7 leans\n")
    assert done.exit_code == 0 and "leans" in done.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory. Give a text file"),
        (b"\n \n", "holds no text"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
    ],
)
def test_bad_input_is_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    audit = tmp_path / "audit.txt"
    if content is not None:
        audit.write_bytes(content)
    done = RUN.invoke(app, ["entities", str(audit), "--html", str(tmp_path / "x.html")])
    assert done.exit_code == 1
    assert message in done.output and done.output.count("\n") == 1
    assert not (tmp_path / "x.html").exists()


def test_a_missing_pipeline_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("pole")
    done = RUN.invoke(app, ["entities", str(tmp_path / "a.txt"), "--model", "en_nothing"])
    assert done.exit_code == 1 and "There is no pipeline 'en_nothing'" in done.output


def test_version() -> None:
    assert RUN.invoke(app, ["version"]).output.strip().count(".") == 2


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "new \ud800")
    assert (tmp_path / "a.txt").read_text() == "old"
