"""Folding an adapter into its encoder, so that nothing of LoRA is left."""

from collections import Counter
from typing import Any

import torch
from peft import PeftModel
from spacy.language import Language
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers import TransformerModel as StockTransformerModel
from spacy_transformers.layers.transformer_model import set_pytorch_transformer

from .adapters import LORA_ONLY, lora_models
from .lora import LoraTransformerModel
from .lora_shim import LoraShim
from .transformer import TransformerModel, replace_listener_cfg

STOCK = "spacy-transformers.TransformerModel.v3"
PLAIN = "goback.TransformerModel.v1"
OWN_TOKENIZER = "goback.tokenizer.v1"


def merge_adapter(nlp: Language, *, architecture: str = STOCK) -> Language:
    """Fold the active adapter into the weights, in place, and leave an ordinary encoder.

    nlp: the pipeline; every LoRA encoder in it is merged.
    architecture: spacy-transformers.TransformerModel.v3, which loads where neither PEFT nor this
        library is installed, or goback.TransformerModel.v1, which is saved with safetensors.
    Returns the same pipeline.
    Raises ValueError where there is no LoRA encoder, or for another architecture.
    """
    if architecture not in (STOCK, PLAIN):
        raise ValueError(f"Cannot merge into {architecture!r}: choose {STOCK!r} or {PLAIN!r}.")
    found = list(lora_models(nlp))
    if not found:
        raise ValueError("There is no goback.LoraTransformerModel.v1 in this pipeline.")
    for name, parent, model in found:
        assert isinstance(model, LoraTransformerModel)
        merged = _merged_model(model, architecture)
        if parent is None:
            nlp.get_pipe(name).model = merged  # type: ignore[attr-defined]
        else:
            parent.layers[parent.layers.index(model)] = merged
        _rewrite_architecture(nlp.get_pipe_config(name), architecture)
    tokenizer = nlp.config["nlp"]["tokenizer"]
    if architecture == STOCK and tokenizer == {"@tokenizers": OWN_TOKENIZER}:
        # spaCy's own tokenizer reads the rules that ours has saved.
        nlp.config["nlp"]["tokenizer"] = {"@tokenizers": "spacy.Tokenizer.v1"}
    return nlp


def _merged_model(model: LoraTransformerModel, architecture: str) -> StockTransformerModel:
    shim = model.shim
    assert isinstance(shim, LoraShim)
    _untie_targets(shim.peft_model)
    encoder = shim.peft_model.merge_and_unload(safe_merge=True)
    encoder.requires_grad_(True)
    old = shim._hfmodel
    # Stock writes the vocabulary of every tokenizer that has a place for one.
    objects = HFObjects(old.tokenizer, encoder, old.vocab_file_contents or b"", {}, {})
    settings: Any = model.attrs["name"], model.attrs["get_spans"], {}, {}, shim._mixed_precision, {}
    if architecture == STOCK:
        merged = StockTransformerModel(*settings)
    else:
        checkpointing = model.attrs["gradient_checkpointing"]
        merged = TransformerModel(*settings, gradient_checkpointing=checkpointing)
        merged.shim.base = shim.base
    set_pytorch_transformer(merged, objects)
    return merged


def _untie_targets(model: PeftModel) -> None:
    # An adapter's change belongs to one layer, not to every layer that shares its weights.
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for module in model.modules():
        weight = getattr(getattr(module, "base_layer", None), "weight", None)
        if weight is not None and uses[id(weight)] > 1:
            frozen = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)
            module.base_layer.weight = frozen  # type: ignore[union-attr]


def _rewrite_architecture(config: dict[str, Any], architecture: str) -> None:
    for value in config.values():
        if isinstance(value, dict):
            _rewrite_architecture(value, architecture)
    own = config.get("@architectures", "")
    if own.startswith("goback.Lora"):
        is_tok2vec = "Tok2Vec" in own
        plain = {k: v for k, v in config.items() if k not in LORA_ONLY}
        if architecture == STOCK:
            plain.pop("gradient_checkpointing", None)
        plain["@architectures"] = architecture
        config.clear()
        config.update(replace_listener_cfg(plain, {}) if is_tok2vec else plain)
