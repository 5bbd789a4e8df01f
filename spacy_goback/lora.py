"""LoRA adapters on any encoder-only transformer, inside spaCy (Hu et al. 2021, via PEFT)."""

from typing import Any

import torch
from peft import LoraConfig
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from spacy.tokens import Doc
from spacy.util import SimpleFrozenDict
from spacy_transformers.data_classes import FullTransformerBatch, HFObjects
from thinc.api import Model
from thinc.types import Floats2d, Ragged
from wasabi import msg

from .lora_shim import LoraShim, wrap
from .transformer import Spanner, TransformerModel, as_tok2vec, set_encoder

DEFAULT_ADAPTER = "default"
TARGETS = {
    **TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
    "distilbert": ["q_lin", "v_lin"],  # PEFT's own table leaves it out
}
# What query and value projections are called in families that no table knows.
USUAL_TARGETS = (
    ("query", "value"),
    ("q_lin", "v_lin"),
    ("q_proj", "v_proj"),
    ("q", "v"),
    ("Wqkv",),
)


def default_targets(encoder: torch.nn.Module) -> list[str] | str:
    """The layers that LoRA changes by default: query and value projections of the family.

    encoder: a Hugging Face encoder.
    Raises ValueError for an unknown family, naming the layers one could choose.
    """
    family: str = encoder.config.model_type  # type: ignore[union-attr,assignment]
    if family in TARGETS:
        targets = TARGETS[family]
        return targets if isinstance(targets, str) else list(targets)
    names = {
        name.rpartition(".")[2]
        for name, module in encoder.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    for pair in USUAL_TARGETS:
        if names.issuperset(pair):
            return list(pair)
    raise ValueError(
        f"No default target_modules for encoders of type {family!r}: set them to some of "
        f"{sorted(names)}."
    )


def lora_config(encoder: torch.nn.Module, settings: dict[str, Any]) -> LoraConfig:
    """PEFT's configuration from the architecture's settings.

    encoder: the encoder that will carry the adapter.
    settings: rank, alpha, dropout, target_modules, use_rslora, use_dora, layers_to_transform.
    Raises ValueError where the rank is below 1 or no layer has such a name.
    """
    if settings["rank"] < 1:
        raise ValueError(f"rank is {settings['rank']}: a LoRA adapter needs a rank of 1 or more.")
    return LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=settings["target_modules"] or default_targets(encoder),
        use_rslora=settings["use_rslora"],
        use_dora=settings["use_dora"],
        layers_to_transform=settings["layers_to_transform"],
    )


def count_parameters(model: torch.nn.Module) -> tuple[int, int]:
    """Trainable parameters and frozen ones.

    model: an encoder with its adapters.
    """
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in model.parameters()) - trainable


class LoraTransformerModel(TransformerModel):
    """Thinc model around an encoder with LoRA adapters."""

    shim_class = LoraShim
    extra_attrs = ("gradient_checkpointing", "lora")

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.attrs["set_transformer"] = set_lora_encoder


def set_lora_encoder(model: LoraTransformerModel, objects: HFObjects) -> None:
    """Put a pretrained encoder with a fresh adapter into the model and say what will train.

    model: the model, still empty.
    objects: tokenizer and encoder.
    """
    # Wrapped before the model takes it over: a wrong setting must leave no bare encoder behind.
    config = lora_config(objects.transformer, model.attrs["lora"])
    objects.transformer = wrap(objects.transformer, config, DEFAULT_ADAPTER)
    set_encoder(model, objects)
    trainable, frozen = count_parameters(objects.transformer)
    msg.info(f"LoRA: {trainable:,} trainable of {frozen:,} + {trainable:,} parameters")


def lora_transformer_model(
    name: str,
    get_spans: Spanner,
    tokenizer_config: dict[str, Any] = SimpleFrozenDict(),
    transformer_config: dict[str, Any] = SimpleFrozenDict(),
    mixed_precision: bool = False,
    grad_scaler_config: dict[str, Any] = SimpleFrozenDict(),
    rank: int = 16,
    alpha: float = 32,
    dropout: float = 0.1,
    target_modules: list[str] | str | None = None,
    use_rslora: bool = False,
    use_dora: bool = False,
    layers_to_transform: list[int] | int | None = None,
    gradient_checkpointing: bool = False,
) -> Model[list[Doc], FullTransformerBatch]:
    """Build `goback.LoraTransformerModel.v1`: a frozen encoder with a trainable LoRA adapter.

    name, get_spans, tokenizer_config, transformer_config, mixed_precision, grad_scaler_config:
        as in spacy-transformers.TransformerModel.v3.
    rank: columns of the low-rank factors, 1 or more.
    alpha: the update is scaled by alpha / rank (Hu et al. 2021, section 4.1).
    dropout: share of inputs to the adapter dropped in training, 0 to 1.
    target_modules: names of linear layers, a regular expression, or "all-linear"; by default the
        query and value projections of the encoder's family (q_lin and v_lin in DistilBERT).
    use_rslora: scale by alpha / sqrt(rank) instead (Kalajdzievski 2023).
    use_dora: learn magnitude and direction apart (Liu et al. 2024).
    layers_to_transform: indices of the layers to change; all by default.
    gradient_checkpointing: recompute activations in training: slower, far less memory.
    """
    lora = {
        "rank": rank,
        "alpha": alpha,
        "dropout": dropout,
        "target_modules": target_modules,
        "use_rslora": use_rslora,
        "use_dora": use_dora,
        "layers_to_transform": layers_to_transform,
    }
    return LoraTransformerModel(
        name,
        get_spans,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
        lora=lora,
        gradient_checkpointing=gradient_checkpointing,
    )


def lora_tok2vec_transformer(
    name: str,
    get_spans: Spanner,
    pooling: Model[Ragged, Floats2d],
    grad_factor: float = 1.0,
    tokenizer_config: dict[str, Any] = SimpleFrozenDict(),
    transformer_config: dict[str, Any] = SimpleFrozenDict(),
    mixed_precision: bool = False,
    grad_scaler_config: dict[str, Any] = SimpleFrozenDict(),
    rank: int = 16,
    alpha: float = 32,
    dropout: float = 0.1,
    target_modules: list[str] | str | None = None,
    use_rslora: bool = False,
    use_dora: bool = False,
    layers_to_transform: list[int] | int | None = None,
    gradient_checkpointing: bool = False,
) -> Model[list[Doc], list[Floats2d]]:
    """Build `goback.LoraTok2VecTransformer.v1`: encoder and adapter inside one component.

    Made by `nlp.replace_listeners`, and for pipelines with a single trainable component.

    pooling, grad_factor: as in `goback.Tok2VecTransformer.v1`.
    All others: as in `lora_transformer_model`.
    """
    model = lora_transformer_model(
        name,
        get_spans,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
        rank,
        alpha,
        dropout,
        target_modules,
        use_rslora,
        use_dora,
        layers_to_transform,
        gradient_checkpointing,
    )
    assert isinstance(model, LoraTransformerModel)
    return as_tok2vec(model, pooling, grad_factor)
