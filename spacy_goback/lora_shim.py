"""An encoder shim that carries LoRA adapters, and their tensors in and out of it."""

import json
from itertools import pairwise
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)

from .shim import EncoderShim
from .tensors import CheckpointError, pack, unpack


def wrap(encoder: torch.nn.Module, config: LoraConfig, name: str) -> PeftModel:
    """Freeze an encoder and put a first adapter on it.

    encoder: a Hugging Face encoder, changed in place.
    config: PEFT's configuration of the adapter.
    name: the adapter's name.
    """
    return PeftModel(encoder, config, adapter_name=name)


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

        message: what `adapters_to_message` gave.
        Raises CheckpointError where there is no adapter, or one whose tensors do not fit.
        """
        if not message:
            raise CheckpointError(
                "This checkpoint holds no LoRA adapter: load it with goback.TransformerModel.v1."
            )
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
    # The weights are loaded next: no initialization that would touch the base.
    return LoraConfig(**(values | {"inference_mode": False, "init_lora_weights": True}))


def adapter_state(model: PeftModel, name: str) -> dict[str, torch.Tensor]:
    """Weights of one adapter by PEFT's names for files.

    model: the wrapped encoder.
    name: the adapter.
    """
    # PEFT tells adapters apart by substrings: it is shown no tensors but this adapter's.
    own = {key: value for key, value in model.state_dict().items() if _belongs(key, name)}
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, state_dict=own, adapter_name=name, save_embedding_layers=False
    )
    return state


def _belongs(key: str, name: str) -> bool:
    parts = key.split(".")
    pairs = pairwise(parts)
    return any(part.startswith("lora_") and owner == name for part, owner in pairs)


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
