"""Transformer encoders for spaCy that are saved with safetensors and survive worker processes.

Runs where neither PEFT nor the rest of the library is installed: it travels inside our wheels.
"""

import copy
from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc, Span
from spacy.util import SimpleFrozenDict
from spacy_transformers.data_classes import FullTransformerBatch, HFObjects
from spacy_transformers.layers import TransformerModel as StockTransformerModel
from spacy_transformers.layers import split_trf_batch, trfs2arrays
from spacy_transformers.layers.hf_shim import HFShim
from spacy_transformers.layers.transformer_model import set_pytorch_transformer
from thinc.api import Model, chain
from thinc.types import Floats2d, Ragged

from .base import describe_base
from .shim import EncoderShim, load_pretrained

Spanner = Callable[[list[Doc]], list[list[Span]]]


class TransformerModel(StockTransformerModel):
    """Thinc model around an encoder: spacy-transformers' own, on a shim of ours."""

    shim_class: type[EncoderShim] = EncoderShim
    extra_attrs: tuple[str, ...] = ("gradient_checkpointing",)

    def __init__(
        self,
        name: str,
        get_spans: Spanner,
        tokenizer_config: dict[str, Any],
        transformer_config: dict[str, Any],
        mixed_precision: bool,
        grad_scaler_config: dict[str, Any],
        **attrs: Any,
    ) -> None:
        # from_pretrained's helpers write into these; the config of the pipeline must not change.
        settings = dict(tokenizer_config), dict(transformer_config)
        super().__init__(name, get_spans, *settings, mixed_precision, dict(grad_scaler_config))
        stock = self.layers[0].shims[0]
        assert isinstance(stock, HFShim)
        checkpointing = bool(attrs.get("gradient_checkpointing"))
        shim = self.shim_class(stock._hfmodel, mixed_precision, grad_scaler_config, checkpointing)
        self.layers[0].shims[0] = shim
        self.init = initialize
        self.attrs.update(attrs)
        self.attrs["set_transformer"] = set_encoder
        self.attrs["replace_listener_cfg"] = replace_listener_cfg

    @property
    def shim(self) -> EncoderShim:
        """The shim that holds the encoder."""
        shim = self.layers[0].shims[0]
        assert isinstance(shim, EncoderShim)
        return shim

    def copy(self) -> "TransformerModel":
        """A copy with weights and attributes of its own (stock forgets the attributes)."""
        attrs = {name: self.attrs[name] for name in self.extra_attrs}
        copied = type(self)(self.attrs["name"], self.attrs["get_spans"], {}, {}, False, {}, **attrs)
        copied.layers[0] = copy.deepcopy(self.layers[0])
        copied.attrs["has_transformer"] = self.attrs["has_transformer"]
        for name in self.dim_names:
            if self.has_dim(name):
                copied.set_dim(name, self.get_dim(name))
        return copied


def initialize(model: TransformerModel, X: Any = None, Y: Any = None) -> None:
    """Load the pretrained encoder, once.

    model: the model.
    X, Y: not needed, the encoder knows its shapes.
    """
    if not model.attrs["has_transformer"]:
        settings = model._init_tokenizer_config, model._init_transformer_config
        objects = load_pretrained(model.attrs["name"], *settings)
        model.attrs["set_transformer"](model, objects)


def set_encoder(model: TransformerModel, objects: HFObjects) -> None:
    """Put a pretrained encoder into the model, once.

    model: the model, still empty.
    objects: tokenizer and encoder.
    """
    model.shim.base = describe_base(model.attrs["name"], objects.transformer.config)
    set_pytorch_transformer(model, objects)
    model.shim.set_encoder(model.shim._hfmodel)


def transformer_model(
    name: str,
    get_spans: Spanner,
    tokenizer_config: dict[str, Any] = SimpleFrozenDict(),
    transformer_config: dict[str, Any] = SimpleFrozenDict(),
    mixed_precision: bool = False,
    grad_scaler_config: dict[str, Any] = SimpleFrozenDict(),
    gradient_checkpointing: bool = False,
) -> Model[list[Doc], FullTransformerBatch]:
    """Build `goback.TransformerModel.v1`: spacy-transformers.TransformerModel.v3 in safetensors.

    name: Hugging Face name or path of the encoder.
    get_spans: cuts documents into the pieces that the encoder reads.
    tokenizer_config, transformer_config: settings for `from_pretrained`.
    mixed_precision, grad_scaler_config: half precision on a GPU, as in v3.
    gradient_checkpointing: recompute activations in training: slower, far less memory.
    """
    return TransformerModel(
        name,
        get_spans,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
        gradient_checkpointing=gradient_checkpointing,
    )


def as_tok2vec(
    model: TransformerModel, pooling: Model[Ragged, Floats2d], grad_factor: float
) -> Model[list[Doc], list[Floats2d]]:
    """Turn an encoder into a token-to-vector layer, in the shape that replaced listeners have.

    model: the encoder.
    pooling: reduces the pieces of a token to one vector, (pieces, width) to (tokens, width).
    grad_factor: scales gradients on their way to the encoder.
    """
    return chain(chain(model, split_trf_batch()), trfs2arrays(pooling, grad_factor))


def tok2vec_transformer(
    name: str,
    get_spans: Spanner,
    pooling: Model[Ragged, Floats2d],
    tokenizer_config: dict[str, Any] = SimpleFrozenDict(),
    grad_factor: float = 1.0,
    transformer_config: dict[str, Any] = SimpleFrozenDict(),
    mixed_precision: bool = False,
    grad_scaler_config: dict[str, Any] = SimpleFrozenDict(),
    gradient_checkpointing: bool = False,
) -> Model[list[Doc], list[Floats2d]]:
    """Build `goback.Tok2VecTransformer.v1`: the encoder inside one component, without listeners.

    Arguments as in `transformer_model` and `as_tok2vec`.
    """
    model = TransformerModel(
        name,
        get_spans,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
        gradient_checkpointing=gradient_checkpointing,
    )
    return as_tok2vec(model, pooling, grad_factor)


def replace_listener_cfg(transformer: dict[str, Any], listener: dict[str, Any]) -> dict[str, Any]:
    """The config of a component's own encoder once `nlp.replace_listeners` gave it one.

    spaCy's rule turns any name with "TransformerModel" in it into the stock architecture.

    transformer: the [model] block of the transformer component.
    listener: the listener block that it replaces.
    """
    result = dict(transformer)
    result["@architectures"] = transformer["@architectures"].replace(
        "TransformerModel", "Tok2VecTransformer"
    )
    return result | {k: v for k, v in listener.items() if k in ("pooling", "grad_factor")}
