import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import spacy
import srsly
import torch
from conftest import HIDE_LIBRARY, TEXTS, build, train, write_encoder
from safetensors.torch import load_file, save_file
from spacy.language import Language
from test_lora import assert_same, hidden_states
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer

import spacy_goback
from spacy_goback.adapters import find_shim
from spacy_goback.encoder import SHA256, SOURCE, convert


def reference_states(model: Any, encoder: Path) -> np.ndarray:
    tokens = AutoTokenizer.from_pretrained(encoder)(TEXTS, padding=True, return_tensors="pt")
    tokens.pop("token_type_ids", None)
    model.eval()
    with torch.no_grad():
        states: np.ndarray = model(**tokens).last_hidden_state.numpy()
    return states


def test_peft_loads_what_we_export(trained: Language, encoder: Path, tmp_path: Path) -> None:
    path = spacy_goback.export_adapter(trained, tmp_path / "adapter")
    assert {file.name for file in path.iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    theirs = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(encoder), str(path))
    ours = find_shim(trained).peft_model
    np.testing.assert_allclose(
        reference_states(theirs, encoder), reference_states(ours, encoder), atol=1e-6
    )


def test_an_export_loads_into_a_fresh_pipeline(
    trained: Language, encoder: Path, tmp_path: Path
) -> None:
    path = spacy_goback.export_adapter(trained, tmp_path / "overhead")
    other = build(encoder)
    assert spacy_goback.load_adapter(other, path) == "overhead"
    assert spacy_goback.list_adapters(other) == ("overhead", "default")
    assert_same(hidden_states(trained), hidden_states(other))


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForTokenClassification])
def test_adapters_trained_with_plain_peft(auto_class: Any, encoder: Path, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=8, target_modules=["q_lin", "k_lin"], init_lora_weights=False)
    if auto_class is AutoModelForTokenClassification:
        config.task_type = peft.TaskType.TOKEN_CLS
    # A token classification head is new on this encoder, and Transformers says so in its log.
    model = peft.get_peft_model(auto_class.from_pretrained(encoder), config)
    model.save_pretrained(str(tmp_path / "plain"))
    nlp = build(encoder)
    spacy_goback.load_adapter(nlp, tmp_path / "plain", name="theirs")
    theirs = model.base_model.model
    theirs = getattr(theirs, "distilbert", theirs)
    np.testing.assert_allclose(
        reference_states(find_shim(nlp).peft_model, encoder),
        reference_states(theirs, encoder),
        atol=1e-6,
    )


def test_named_adapters_switch_train_apart_and_save(lora: Language, tmp_path: Path) -> None:
    train(lora)
    overhead = hidden_states(lora)
    spacy_goback.add_adapter(lora, "underground", rank=4)
    assert spacy_goback.list_adapters(lora) == ("underground", "default")
    train(lora)
    underground = hidden_states(lora)
    assert not np.array_equal(overhead[0], underground[0])
    spacy_goback.set_adapter(lora, "default")
    assert_same(overhead, hidden_states(lora))
    lora.to_disk(tmp_path / "saved")
    loaded = spacy.load(tmp_path / "saved")
    assert spacy_goback.list_adapters(loaded) == ("default", "underground")
    assert_same(overhead, hidden_states(loaded))
    spacy_goback.set_adapter(loaded, "underground")
    assert_same(underground, hidden_states(loaded))


def test_unknown_and_taken_names(lora: Language) -> None:
    with pytest.raises(ValueError, match=r"no adapter 'x': the pipeline has \['default'\]"):
        spacy_goback.set_adapter(lora, "x")
    with pytest.raises(ValueError, match="an adapter 'default' already"):
        spacy_goback.add_adapter(lora, "default")
    with pytest.raises(ValueError, match=r"Unknown LoRA settings \['ranc'\]"):
        spacy_goback.add_adapter(lora, "y", ranc=3)
    with pytest.raises(ValueError, match="no goback"):
        spacy_goback.list_adapters(spacy.blank("en"))


@pytest.mark.parametrize("name", ["model", "q_lin", "over.head", "keys", "transformer", "weight"])
def test_names_that_peft_would_mix_up_are_refused(lora: Language, name: str) -> None:
    with pytest.raises(ValueError, match="give it another name"):
        spacy_goback.add_adapter(lora, name)
    assert spacy_goback.list_adapters(lora) == ("default",)


def test_names_that_contain_each_other(lora: Language, tmp_path: Path) -> None:
    spacy_goback.add_adapter(lora, "default2", use_dora=True)
    train(lora)
    expected = hidden_states(lora)
    lora.to_disk(tmp_path / "saved")
    assert_same(expected, hidden_states(spacy.load(tmp_path / "saved")))
    path = spacy_goback.export_adapter(lora, tmp_path / "x", name="default")
    assert len(load_file(path / "adapter_model.safetensors")) == 8


def test_a_base_changed_after_conversion_is_another_base(
    make_encoder: Callable[..., Path], tmp_path: Path
) -> None:
    convert(make_encoder("bert"), tmp_path / "encoder")
    first = build(tmp_path / "encoder")
    assert find_shim(first).base == {"name": SOURCE["name"], "sha256": SHA256}
    path = spacy_goback.export_adapter(first, tmp_path / "mine")
    changed = AutoModel.from_pretrained(tmp_path / "encoder")
    with torch.no_grad():
        changed.embeddings.LayerNorm.bias += 1
    shutil.copytree(tmp_path / "encoder", tmp_path / "changed")
    changed.save_pretrained(tmp_path / "changed")
    with pytest.raises(spacy_goback.CheckpointError, match="another base: hash"):
        spacy_goback.load_adapter(build(tmp_path / "changed"), path)


@pytest.mark.parametrize("base", ["/home/other/tiny-distilbert", "../x/tiny-distilbert", None])
def test_a_base_that_is_not_here_is_compared_by_name(
    lora: Language, base: str | None, tmp_path: Path
) -> None:
    path = spacy_goback.export_adapter(lora, tmp_path / "theirs")
    weights = path / "adapter_model.safetensors"
    save_file(load_file(weights), weights)  # without our header
    config = srsly.read_json(path / "adapter_config.json")
    srsly.write_json(path / "adapter_config.json", {**config, "base_model_name_or_path": base})
    assert spacy_goback.load_adapter(lora, path) == "theirs"


@pytest.mark.parametrize("setting", [{"bias": "all"}, {"init_lora_weights": "pissa"}])
def test_adapters_that_change_the_base_are_refused(
    lora: Language, setting: dict[str, str], tmp_path: Path
) -> None:
    before = hidden_states(lora)
    path = spacy_goback.export_adapter(lora, tmp_path / "theirs")
    config = srsly.read_json(path / "adapter_config.json")
    srsly.write_json(path / "adapter_config.json", {**config, **setting})
    with pytest.raises(spacy_goback.CheckpointError, match="changes the base that other adapters"):
        spacy_goback.load_adapter(lora, path)
    assert_same(before, hidden_states(lora))


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00 nonsense"])
def test_damaged_files_are_one_sentence(
    lora: Language, file: str, content: bytes, tmp_path: Path
) -> None:
    path = spacy_goback.export_adapter(lora, tmp_path / "theirs")
    (path / file).write_bytes(content)
    with pytest.raises(spacy_goback.CheckpointError, match="cannot be read as a PEFT adapter"):
        spacy_goback.load_adapter(lora, path)
    assert spacy_goback.list_adapters(lora) == ("default",)


def test_a_base_of_another_shape_is_refused(
    trained: Language, make_encoder: Callable[..., Path], tmp_path: Path
) -> None:
    path = spacy_goback.export_adapter(trained, tmp_path / "adapter")
    nlp = build(make_encoder(dim=16))
    with pytest.raises(spacy_goback.CheckpointError, match=r"adapter has \(16, 32\)"):
        spacy_goback.load_adapter(nlp, path, check_base=False)
    assert spacy_goback.list_adapters(nlp) == ("default",)
    with pytest.raises(spacy_goback.CheckpointError, match="another base: hash"):
        spacy_goback.load_adapter(nlp, path)


def test_a_base_of_another_hash_or_name_is_refused(
    trained: Language, encoder: Path, tmp_path: Path
) -> None:
    path = spacy_goback.export_adapter(trained, tmp_path / "adapter")
    other = write_encoder(tmp_path / "tiny-distilbert", seq_classif_dropout=0.3)
    weights = load_file(other / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(spacy_goback.CheckpointError, match="another base: hash"):
        spacy_goback.load_adapter(build(other), path)
    config = srsly.read_json(path / "adapter_config.json")
    srsly.write_json(
        path / "adapter_config.json", config | {"base_model_name_or_path": "someone/roberta"}
    )
    save_file(load_file(path / "adapter_model.safetensors"), path / "adapter_model.safetensors")
    with pytest.raises(spacy_goback.CheckpointError, match="name 'someone/roberta'"):
        spacy_goback.load_adapter(build(encoder), path)
    assert spacy_goback.load_adapter(build(encoder), path, check_base=False) == "adapter"


def test_what_is_no_adapter_is_refused(lora: Language, tmp_path: Path) -> None:
    with pytest.raises(spacy_goback.CheckpointError, match=r"holds no adapter_config\.json"):
        spacy_goback.load_adapter(lora, tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_text("pickle")
    with pytest.raises(spacy_goback.CheckpointError, match="safe_serialization=True"):
        spacy_goback.load_adapter(lora, tmp_path)


def test_export_replaces_an_adapter_but_nothing_else(lora: Language, tmp_path: Path) -> None:
    spacy_goback.export_adapter(lora, tmp_path / "adapter")
    (tmp_path / "adapter" / "notes.txt").write_text("kept")
    path = spacy_goback.export_adapter(lora, tmp_path / "adapter")
    assert (path / "notes.txt").read_text() == "kept"
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in path.iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is no adapter"):
        spacy_goback.export_adapter(lora, tmp_path / "mine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "mine"]


@pytest.mark.parametrize(
    "architecture", ["spacy-transformers.TransformerModel.v3", "goback.TransformerModel.v1"]
)
@pytest.mark.parametrize("inside_component", [False, True])
def test_merged_pipelines_agree(
    trained: Language, tmp_path: Path, architecture: str, inside_component: bool
) -> None:
    before = {text: [t.vector for t in trained(text)] for text in TEXTS}
    states = hidden_states(trained)
    entities = [doc.to_json()["ents"] for doc in trained.pipe(TEXTS)]
    del before
    if inside_component:
        trained.replace_listeners("transformer", "ner", ["model.tok2vec"])
        trained.remove_pipe("transformer")
    merged = spacy_goback.merge_adapter(trained, architecture=architecture)
    assert merged is trained and "goback.Lora" not in str(merged.config)
    merged.to_disk(tmp_path / "merged")
    loaded = spacy.load(tmp_path / "merged")
    assert [doc.to_json()["ents"] for doc in loaded.pipe(TEXTS)] == entities
    if not inside_component:
        for a, b in zip(states, hidden_states(loaded), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_tied_layers_merge_apart(encoder: Path) -> None:
    nlp = build(encoder)
    layers = find_shim(nlp).plain_model().transformer.layer
    layers[1].attention.q_lin.base_layer.weight = layers[0].attention.q_lin.base_layer.weight
    train(nlp)
    before = hidden_states(nlp)
    for a, b in zip(before, hidden_states(spacy_goback.merge_adapter(nlp)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_merged_pipeline_needs_neither_peft_nor_the_library(
    encoder: Path, tmp_path: Path
) -> None:
    nlp = build(encoder, tokenizer="goback.tokenizer.v1")
    train(nlp, steps=20)
    texts = [*TEXTS, "8'-6\" pole, 12kV."]
    expected = [[(t.text, t.ent_type_) for t in doc] for doc in nlp.pipe(texts)]
    spacy_goback.merge_adapter(nlp).to_disk(tmp_path / "merged")
    srsly.write_json(tmp_path / "texts.json", texts)
    done = subprocess.run(
        [sys.executable, "-c", HIDE_LIBRARY + WITHOUT_US, str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [[tuple(token) for token in doc] for doc in srsly.json_loads(done.stdout)] == expected


WITHOUT_US = """
import spacy, srsly
nlp = spacy.load(sys.argv[1] + "/merged")
texts = srsly.read_json(sys.argv[1] + "/texts.json")
print(srsly.json_dumps([[(t.text, t.ent_type_) for t in doc] for doc in nlp.pipe(texts)]))
"""


def test_a_merged_pipeline_can_train_on(trained: Language) -> None:
    nlp = spacy_goback.merge_adapter(trained)
    weights = nlp.get_pipe("transformer").model.transformer.state_dict()
    before = {k: v.clone() for k, v in weights.items()}
    train(nlp)
    after = nlp.get_pipe("transformer").model.transformer.state_dict()
    assert sum(not torch.equal(before[k], after[k]) for k in before) > 20


def test_merging_into_something_else_is_refused(lora: Language) -> None:
    with pytest.raises(ValueError, match="choose"):
        spacy_goback.merge_adapter(lora, architecture="spacy.Tok2Vec.v2")
    with pytest.raises(ValueError, match="no goback"):
        spacy_goback.merge_adapter(spacy.blank("en"))
