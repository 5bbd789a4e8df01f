"""LoRA adapters on any encoder-only transformer, inside spaCy (Hu et al. 2021, via PEFT)."""

import json
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from spacy.tokens import Doc
from spacy.util import SimpleFrozenDict
from spacy_transformers.data_classes import FullTransformerBatch, HFObjects
from thinc.api import Model
from thinc.types import Floats2d, Ragged
from wasabi import msg

from .tensors import CheckpointError, pack, unpack
from .transformer import EncoderShim, Spanner, TransformerModel, as_tok2vec, set_encoder

DEFAULT_ADAPTER = "default"
# Families that PEFT's own table leaves out.
TARGETS = {
    **TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
    "distilbert": ["q_lin", "v_lin"],
    "albert": ["query", "value"],
    "camembert": ["query", "value"],
    "mpnet": ["q", "v"],
    "modernbert": ["Wqkv"],
}


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


def wrap(encoder: torch.nn.Module, config: LoraConfig, name: str) -> PeftModel:
    """Freeze an encoder and put a first adapter on it.

    encoder: a Hugging Face encoder, changed in place.
    config: PEFT's configuration of the adapter.
    name: the adapter's name.
    """
    return PeftModel(encoder, config, adapter_name=name)


def count_parameters(model: torch.nn.Module) -> tuple[int, int]:
    """Trainable parameters and frozen ones.

    model: an encoder with its adapters.
    """
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in model.parameters()) - trainable


class LoraShim(EncoderShim):
    """An encoder shim whose model may be wrapped by PEFT."""

    @property
    def peft_model(self) -> PeftModel:
        """The wrapped encoder.

        Raises ValueError before the pipeline is initialized.
        """
        if not isinstance(self._model, PeftModel):
            raise ValueError("The transformer has no adapter yet: call nlp.initialize() first.")
        return self._model

    def plain_model(self) -> torch.nn.Module:
        """The encoder below the adapters."""
        if isinstance(self._model, PeftModel):
            model: torch.nn.Module = self._model.get_base_model()
            return model
        return super().plain_model()

    def plain_state(self) -> dict[str, torch.Tensor]:
        """Frozen weights by the names of the encoder's own checkpoint, without the adapters'."""
        prefix = getattr(self._model, "prefix", "lora_") if self._model is not None else "lora_"
        return {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in self.plain_model().state_dict().items()
            if not any(part.startswith(prefix) for part in name.split("."))
        }

    def adapters_to_message(self) -> dict[str, Any]:
        """Every adapter's configuration and weights, and which one is active."""
        if not isinstance(self._model, PeftModel):
            return {}
        return {
            "active": self._model.active_adapter,
            "configs": {n: config_to_json(c) for n, c in self._model.peft_config.items()},
            "weights": {n: pack(adapter_state(self._model, n)) for n in self._model.peft_config},
        }

    def adapters_from_message(self, message: dict[str, Any]) -> None:
        """Wrap the loaded encoder again and load every adapter, strictly.

        message: what `adapters_to_message` gave; empty leaves the encoder plain.
        Raises CheckpointError where an adapter's tensors do not fit.
        """
        if not message:
            return
        for name, config in message["configs"].items():
            self.add_adapter(name, config_from_json(config))
            load_adapter_state(self.peft_model, name, unpack(message["weights"][name])[0])
        self.activate(message["active"])

    def add_adapter(self, name: str, config: LoraConfig) -> None:
        """Put a further (or the first) adapter on the encoder, freshly initialized.

        name: its name, not in use yet.
        config: PEFT's configuration.
        Raises ValueError where PEFT finds no layer to change.
        """
        if isinstance(self._model, PeftModel):
            self._model.add_adapter(name, config)
        else:
            model = wrap(self._model, config, name)
            self._model = model
            self._hfmodel.transformer = model
        self._model.eval()  # new layers start in training mode, with dropout

    def activate(self, name: str) -> None:
        """Let one adapter predict and train, and no other.

        name: an adapter of the encoder.
        """
        self.peft_model.set_adapter(name)
        for parameter in self.peft_model.parameters():
            # Optimizers step on whatever has a gradient, also one left from before the switch.
            if not parameter.requires_grad:
                parameter.grad = None


def config_to_json(config: PeftConfig) -> str:
    """PEFT's configuration as JSON, without the path of the machine that made it.

    config: an adapter's configuration.
    """
    values = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    values["base_model_name_or_path"] = None
    return json.dumps(values, sort_keys=True, default=str)


def config_from_json(text: str) -> LoraConfig:
    """The configuration that `config_to_json` wrote, ready to train on.

    text: JSON. Fields that the installed PEFT does not know are left out: they held its defaults.
    """
    known = LoraConfig.__dataclass_fields__
    values = {k: v for k, v in json.loads(text).items() if k in known and v is not None}
    return LoraConfig(**(values | {"inference_mode": False}))


def adapter_state(model: PeftModel, name: str) -> dict[str, torch.Tensor]:
    """Weights of one adapter by PEFT's names for files.

    model: the wrapped encoder.
    name: the adapter.
    """
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, adapter_name=name, save_embedding_layers=False
    )
    return state


def load_adapter_state(model: PeftModel, name: str, state: dict[str, torch.Tensor]) -> None:
    """Load one adapter's weights, strictly.

    model: the wrapped encoder, with an adapter of that name.
    name: the adapter.
    state: tensors by PEFT's names for files.
    Raises CheckpointError where a name or a shape differs.
    """
    expected = {key: value.shape for key, value in adapter_state(model, name).items()}
    wrong = sorted(
        key
        for key in expected.keys() | state.keys()
        if key not in state or expected.get(key) != state[key].shape
    )
    if wrong:
        key = wrong[0]
        have = tuple(state[key].shape) if key in state else "no such tensor"
        want = tuple(expected[key]) if key in expected else "no such tensor"
        raise CheckpointError(
            f"Adapter {name!r} does not fit this encoder in {len(wrong)} tensors; first {key!r}: "
            f"the adapter has {have}, the encoder wants {want}."
        )
    set_peft_model_state_dict(model, state, adapter_name=name)


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
    set_encoder(model, objects)
    shim = model.shim
    assert isinstance(shim, LoraShim)
    shim.add_adapter(DEFAULT_ADAPTER, lora_config(objects.transformer, model.attrs["lora"]))
    trainable, frozen = count_parameters(shim.peft_model)
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
