"""Section by section: building, training, saving, features of `spacy train`."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
import torch
from conftest import FAMILIES, NER, TEXTS, build, examples, pipeline_config, train
from spacy.language import Language
from transformers import DistilBertConfig, DistilBertModel

import spacy_goback
from spacy_goback.adapters import find_shim
from spacy_goback.lora import count_parameters
from spacy_goback.tensors import CheckpointError, pack


def hidden_states(nlp: Language) -> list[Any]:
    return [doc._.trf_data.model_output.last_hidden_state for doc in nlp.pipe(TEXTS)]


def assert_same(first: list[Any], second: list[Any]) -> None:
    assert len(first) == len(second) == len(TEXTS)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def tensors(nlp: Language, trainable: bool) -> dict[str, torch.Tensor]:
    parameters = find_shim(nlp).peft_model.named_parameters()
    return {n: p.detach().clone() for n, p in parameters if p.requires_grad is trainable}


def test_architectures_come_by_entry_point() -> None:
    assert "goback.LoraTransformerModel.v1" in spacy.registry.architectures
    assert "goback.LoraTok2VecTransformer.v1" in spacy.registry.architectures


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_trains_saves_and_loads(
    family: str, make_encoder: Callable[..., Path], tmp_path: Path
) -> None:
    nlp = build(make_encoder(family), rank=4)
    before = tensors(nlp, trainable=True)
    train(nlp)
    after = tensors(nlp, trainable=True)
    assert before and all(not torch.equal(before[name], after[name]) for name in before)
    nlp.to_disk(tmp_path / "saved")
    assert_same(hidden_states(nlp), hidden_states(spacy.load(tmp_path / "saved")))


def test_real_size_distilbert(
    make_encoder: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = make_encoder()  # for its tokenizer
    DistilBertModel(DistilBertConfig()).save_pretrained(folder)
    nlp = build(folder)
    said = "LoRA: 294,912 trainable of 66,362,880 + 294,912 parameters"
    assert said in capsys.readouterr().out
    assert count_parameters(find_shim(nlp).peft_model) == (294_912, 66_362_880)
    path = spacy_goback.export_adapter(nlp, tmp_path / "adapter")
    assert (path / "adapter_model.safetensors").stat().st_size < 1_300_000


def test_initialize_says_what_trains(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(encoder, rank=2)
    assert "LoRA: 512 trainable of 23,136 + 512 parameters" in capsys.readouterr().out


def test_training_moves_the_adapter_and_nothing_frozen(lora: Language) -> None:
    frozen, adapter = tensors(lora, trainable=False), tensors(lora, trainable=True)
    assert all("lora_" in name for name in adapter) and len(adapter) == 8
    train(lora)
    for name, tensor in tensors(lora, trainable=False).items():
        assert torch.equal(tensor, frozen[name]), name
    for name, tensor in tensors(lora, trainable=True).items():
        assert not torch.equal(tensor, adapter[name]), name


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"layers_to_transform": [1]},
        {"target_modules": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]},
        {"target_modules": "all-linear"},
        {"gradient_checkpointing": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_train_and_round_trip(
    encoder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    nlp = build(encoder, **settings)
    losses: dict[str, float] = {}
    train(nlp, losses=losses)
    assert losses["ner"] > 0
    nlp.to_disk(tmp_path / "saved")
    assert_same(hidden_states(nlp), hidden_states(spacy.load(tmp_path / "saved")))


def test_gradient_checkpointing_stays_on_after_loading(encoder: Path, tmp_path: Path) -> None:
    nlp = build(encoder, gradient_checkpointing=True)
    nlp.to_disk(tmp_path / "saved")
    for pipeline in (nlp, spacy.load(tmp_path / "saved")):
        assert find_shim(pipeline).plain_model().is_gradient_checkpointing
    assert not find_shim(build(encoder)).plain_model().is_gradient_checkpointing


def test_layers_to_transform_limits_the_adapter(encoder: Path) -> None:
    names = tensors(build(encoder, layers_to_transform=[1]), trainable=True)
    assert names and all(".layer.1." in name for name in names)


def test_unknown_targets_are_one_clear_error(encoder: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        build(encoder, target_modules=["nowhere"])
    with pytest.raises(ValueError, match="rank of 1 or more"):
        build(encoder, rank=0)


def test_a_failed_start_leaves_no_bare_encoder(encoder: Path) -> None:
    nlp = spacy.blank("en")
    config = pipeline_config(encoder, "goback.LoraTransformerModel.v1", target_modules=["nowhere"])
    nlp.add_pipe("transformer", config=config)
    for _ in range(2):
        with pytest.raises(ValueError, match="nowhere"):
            nlp.initialize()


def test_families_without_a_table_entry_get_the_usual_targets(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spacy_goback.lora.TARGETS", {})
    assert len(tensors(build(encoder), trainable=True)) == 8
    monkeypatch.setattr("spacy_goback.lora.USUAL_TARGETS", ())
    with pytest.raises(
        ValueError, match=r"set them to some of \['k_lin', 'lin1', 'lin2', 'out_lin'"
    ):
        build(encoder)


def test_disk_bytes_and_pickle_keep_every_bit(trained: Language, tmp_path: Path) -> None:
    expected = hidden_states(trained)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained.to_disk(tmp_path / "saved")
        assert_same(expected, hidden_states(spacy.load(tmp_path / "saved")))
        fresh = spacy.blank("en").from_config(trained.config)
        assert_same(expected, hidden_states(fresh.from_bytes(trained.to_bytes())))
        assert_same(expected, hidden_states(pickle.loads(pickle.dumps(trained))))


def test_saving_is_stable(trained: Language, tmp_path: Path) -> None:
    # Transformers itself adds defaults to tokenizer_config.json on the first save.
    trained.to_disk(tmp_path / "a")
    spacy.load(tmp_path / "a").to_disk(tmp_path / "b")
    spacy.load(tmp_path / "b").to_disk(tmp_path / "c")
    second, third = (tmp_path / x / "transformer" / "model" for x in "bc")
    assert second.read_bytes() == third.read_bytes()


def test_nothing_saved_is_a_pickle(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path / "saved")
    data = (tmp_path / "saved" / "transformer" / "model").read_bytes()
    # torch.save writes a zip archive around data.pkl
    assert b"data.pkl" not in data and b"PK\x03\x04" not in data
    assert str(Path.home()).encode() not in data


def test_an_uninitialized_pipeline_round_trips(encoder: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("transformer", config=pipeline_config(encoder, "goback.LoraTransformerModel.v1"))
    other = spacy.blank("en").from_config(nlp.config).from_bytes(nlp.to_bytes())
    other.initialize()
    assert spacy_goback.list_adapters(other) == ("default",)


def test_tied_encoder_tensors_are_tied_again(make_encoder: Callable[..., Path]) -> None:
    nlp = build(make_encoder())
    layers = find_shim(nlp).plain_model().transformer.layer
    layers[1].ffn.lin1.weight = layers[0].ffn.lin1.weight
    data = nlp.get_pipe("transformer").model.to_bytes()
    assert b"aliases" in data
    other = build(make_encoder())
    other.get_pipe("transformer").model.from_bytes(data)
    loaded = find_shim(other).plain_model().transformer.layer
    assert loaded[1].ffn.lin1.weight is loaded[0].ffn.lin1.weight
    assert_same(hidden_states(nlp), hidden_states(other))


def edit_shim(model: Any, change: Callable[[dict[str, Any]], None]) -> bytes:
    message = srsly.msgpack_loads(model.to_bytes())
    shims = next(group for group in message["shims"] if group)
    shim = srsly.msgpack_loads(shims[0])
    change(shim)
    shims[0] = srsly.msgpack_dumps(shim)
    data: bytes = srsly.msgpack_dumps(message)
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=99), "saved in format 99, this release reads format 1"),
        (lambda m: m.pop("format"), "not saved by spacy-goback"),
        (lambda m: m.update(weights=pack({"x": torch.ones(1)})), "do not fit this model"),
        (lambda m: m["adapters"]["weights"].update(default=pack({"x": torch.ones(1)})), "first"),
        (lambda m: m["config"].update(model_type="klingon"), "does not know this encoder"),
    ],
)
def test_other_checkpoints_fail_with_one_sentence(
    lora: Language, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    model = lora.get_pipe("transformer").model
    data = edit_shim(model, change)
    with pytest.raises(CheckpointError, match=message):
        model.from_bytes(data)


def test_a_stock_checkpoint_is_refused(encoder: Path, lora: Language) -> None:
    stock = build(encoder, "spacy-transformers.TransformerModel.v3")
    data = stock.get_pipe("transformer").model.to_bytes()
    with pytest.raises(CheckpointError, match="not saved by spacy-goback"):
        lora.get_pipe("transformer").model.from_bytes(data)


def test_a_checkpoint_without_adapter_is_refused(encoder: Path, lora: Language) -> None:
    plain = build(encoder, "goback.TransformerModel.v1")
    data = plain.get_pipe("transformer").model.to_bytes()
    with pytest.raises(CheckpointError, match="holds no LoRA adapter"):
        lora.get_pipe("transformer").model.from_bytes(data)
    lora_data = lora.get_pipe("transformer").model.to_bytes()
    with pytest.raises(CheckpointError, match="holds LoRA adapters"):
        plain.get_pipe("transformer").model.from_bytes(lora_data)


def test_averages_reach_the_adapter(lora: Language) -> None:
    optimizer = train(lora, steps=8)
    now = tensors(lora, trainable=True)
    with lora.use_params(optimizer.averages):
        averaged = tensors(lora, trainable=True)
        states = hidden_states(lora)
    assert all(not torch.equal(now[name], averaged[name]) for name in now)
    shim = find_shim(lora)
    for name, tensor in averaged.items():
        np.testing.assert_array_equal(tensor.numpy(), optimizer.averages[(shim.id, name)])
    assert_equal_parameters(now, tensors(lora, trainable=True))
    assert not np.array_equal(states[0], hidden_states(lora)[0])


def assert_equal_parameters(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]
) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_replaced_listeners_keep_the_adapter(trained: Language, tmp_path: Path) -> None:
    expected = [doc.to_json()["ents"] for doc in trained.pipe(TEXTS)]
    trained.replace_listeners("transformer", "ner", ["model.tok2vec"])
    tok2vec = trained.config["components"]["ner"]["model"]["tok2vec"]
    assert tok2vec["@architectures"] == "goback.LoraTok2VecTransformer.v1"
    trained.remove_pipe("transformer")
    trained.to_disk(tmp_path / "saved")
    loaded = spacy.load(tmp_path / "saved")
    assert [doc.to_json()["ents"] for doc in loaded.pipe(TEXTS)] == expected
    adapter = tensors(loaded, trainable=True)
    train(loaded)
    after = tensors(loaded, trainable=True)
    assert all(not torch.equal(adapter[name], after[name]) for name in adapter)


def test_a_copy_does_not_share_optimizer_state(lora: Language) -> None:
    original = lora.get_pipe("transformer").model
    copied = original.copy()
    copies = [original, copied, original.copy(), pickle.loads(pickle.dumps(original))]
    fresh = build(Path(original.attrs["name"])).get_pipe("transformer").model
    assert len({model.shim.id for model in [*copies, fresh]}) == 5
    assert copied.attrs["lora"] == original.attrs["lora"]
    assert copied.attrs["has_transformer"] is True


def test_frozen_transformer_does_not_move(lora: Language) -> None:
    before = tensors(lora, trainable=True)
    train(lora, exclude=["transformer"], annotates=["transformer"])
    assert_equal_parameters(before, tensors(lora, trainable=True))


def test_sourced_and_continued_pipelines(trained: Language, tmp_path: Path) -> None:
    expected = hidden_states(trained)
    sourced = spacy.blank("en")
    sourced.add_pipe("transformer", source=trained)
    assert_same(expected, hidden_states(sourced))
    trained.to_disk(tmp_path / "saved")
    continued = spacy.load(tmp_path / "saved")
    continued.initialize(lambda: examples(continued))
    assert_same(expected, hidden_states(continued))
    before = tensors(continued, trainable=True)
    train(continued)
    after = tensors(continued, trainable=True)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_two_listeners_share_one_encoder(encoder: Path) -> None:
    nlp = build(encoder)
    nlp.add_pipe("ner", name="second", config=NER)
    nlp.initialize(lambda: examples(nlp))
    before = tensors(nlp, trainable=True)
    train(nlp)
    after = tensors(nlp, trainable=True)
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_empty_documents(trained: Language) -> None:
    assert [len(doc.ents) for doc in trained.pipe(["", " "])] == [0, 0]


def test_a_pipeline_learns_the_gold_sentences(lora: Language) -> None:
    train(lora, steps=60)
    for example in examples(lora):
        doc = lora(example.reference.text)
        found = {(e.start_char, e.end_char, e.label_) for e in doc.ents}
        assert found == {(e.start_char, e.end_char, e.label_) for e in example.reference.ents}
