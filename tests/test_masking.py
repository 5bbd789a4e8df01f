import lzma
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from spacy_goback.annotations import AnnotationError
from spacy_goback.masking import FIGURES, HIDDEN, Rows, hide, pack, read_texts

TEXTS = ["18 ft clearance over street", "Pole 7 was set deep"] * 20


@pytest.fixture(scope="module")
def rows(encoder: Path) -> Rows:
    return pack(TEXTS, AutoTokenizer.from_pretrained(encoder), 16)


def test_rows_hold_the_texts_in_order(rows: Rows, encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    pieces = [
        i for text in TEXTS for i in [*tokenizer(text)["input_ids"][1:-1], tokenizer.sep_token_id]
    ]
    assert rows.ids.shape == rows.starts.shape == rows.chance.shape == (len(pieces) // 14, 16)
    assert rows.ids[:, 1:-1].flatten().tolist() == pieces[: 14 * len(rows)]
    assert set(rows.ids[:, 0].tolist()) == {tokenizer.cls_token_id}
    assert set(rows.ids[:, -1].tolist()) == {tokenizer.sep_token_id}


def test_figures_are_hidden_half_as_often_and_special_pieces_never(
    rows: Rows, encoder: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    chance = dict(zip(rows.ids.flatten().tolist(), rows.chance.flatten().tolist(), strict=True))
    assert chance[tokenizer.sep_token_id] == chance[tokenizer.cls_token_id] == 0
    assert chance[tokenizer.convert_tokens_to_ids("18")] == pytest.approx(HIDDEN * FIGURES)
    assert chance[tokenizer.convert_tokens_to_ids("street")] == pytest.approx(HIDDEN)


@given(st.integers(0, 10**6))
def test_words_are_hidden_whole(seed: int) -> None:
    starts = torch.tensor([[True, True, False, False, True, False, True]])
    chance = torch.tensor([[0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0]])
    rows = Rows(torch.arange(10, 17)[None], starts, chance)
    shown, hidden = hide(rows, 1, 5, torch.Generator().manual_seed(seed))
    for word in ([0], [1, 2, 3], [4, 5], [6]):
        assert len({bool(hidden[0, i]) for i in word}) == 1
    assert not hidden[0, 0] and not hidden[0, 6]
    assert torch.equal(shown[~hidden], rows.ids[~hidden])
    again = hide(rows, 1, 5, torch.Generator().manual_seed(seed))
    assert torch.equal(again[0], shown) and torch.equal(again[1], hidden)


def test_the_shares_are_those_of_bert() -> None:
    ids = torch.full((200, 100), 7)
    ones = torch.ones_like(ids)
    rows = Rows(ids, ones.bool(), ones * HIDDEN)
    shown, hidden = hide(rows, 1, 5, torch.Generator().manual_seed(0))
    assert hidden.float().mean().item() == pytest.approx(HIDDEN, abs=0.01)
    fates = shown[hidden]
    assert (fates == 7).float().mean().item() == pytest.approx(0.1, abs=0.02)
    # One random piece in five is the mask piece itself.
    assert (fates == 1).float().mean().item() == pytest.approx(0.82, abs=0.03)


def test_files_of_three_kinds_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo \n")
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(b"one\n\ntwo\n"))
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    for name in ("a.txt", "a.txt.xz", "a.jsonl"):
        assert list(read_texts(tmp_path / name)) == ["one", "two"]


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt.xz").write_bytes(b"no xz")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("a.txt.xz", "a.txt", "nowhere.txt"):
        with pytest.raises(AnnotationError, match=rf"{name}: .*Give UTF-8 text"):
            list(read_texts(tmp_path / name))
