"""Adapters come and go: export, load, switch, merge, on a pipeline with a LoRA encoder."""

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig
from safetensors.torch import load_file, save_file
from spacy.language import Language
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers import TransformerModel as StockTransformerModel
from spacy_transformers.layers.transformer_model import set_pytorch_transformer
from thinc.api import Model

from .base import SOURCE_KEY, describe_base, weight_file
from .lora import LoraTransformerModel, lora_config
from .lora_shim import LoraShim, adapter_state, load_adapter_state
from .tensors import CheckpointError, read_header
from .transformer import TransformerModel, replace_listener_cfg

BASE_HEADER = "goback_base"
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
STOCK = "spacy-transformers.TransformerModel.v3"
PLAIN = "goback.TransformerModel.v1"
OWN_TOKENIZER = "goback.tokenizer.v1"
LORA_ONLY = (
    "rank",
    "alpha",
    "dropout",
    "target_modules",
    "use_rslora",
    "use_dora",
    "layers_to_transform",
)


def lora_models(nlp: Language) -> Iterator[tuple[str, Model[Any, Any] | None, Model[Any, Any]]]:
    """Every LoRA encoder of a pipeline: component, the layer above it (if any), the model.

    nlp: the pipeline.
    """
    for name, component in nlp.components:
        model = getattr(component, "model", None)
        if isinstance(model, LoraTransformerModel):
            yield name, None, model
        elif isinstance(model, Model):
            for parent in list(model.walk()):
                for layer in parent.layers:
                    if isinstance(layer, LoraTransformerModel):
                        yield name, parent, layer


def find_shim(nlp: Language, component: str | None = None) -> LoraShim:
    """The LoRA encoder of a pipeline.

    nlp: the pipeline.
    component: the component that holds it; needed only where several have one of their own.
    Raises ValueError where there is none, or more than one to choose from.
    """
    found = {name: model for name, _, model in lora_models(nlp) if component in (None, name)}
    if not found:
        where = f"component {component!r}" if component else "this pipeline"
        raise ValueError(f"There is no goback.LoraTransformerModel.v1 in {where}.")
    if len(found) > 1:
        raise ValueError(f"Several components have a LoRA encoder, name one of {sorted(found)}.")
    shim = next(iter(found.values())).layers[0].shims[0]
    assert isinstance(shim, LoraShim)
    return shim


def list_adapters(nlp: Language, *, component: str | None = None) -> tuple[str, ...]:
    """Names of the adapters on a pipeline's encoder, the active one first.

    nlp, component: as in `find_shim`.
    """
    model = find_shim(nlp, component).peft_model
    active = str(model.active_adapter)
    return (active, *(name for name in model.peft_config if name != active))


def set_adapter(nlp: Language, name: str, *, component: str | None = None) -> None:
    """Make another adapter the active one: the one that predicts, and the only one that trains.

    nlp, component: as in `find_shim`.
    name: its name.
    Raises ValueError where no adapter has that name.
    """
    shim = find_shim(nlp, component)
    _require(shim.peft_model.peft_config, name)
    shim.activate(name)


def add_adapter(nlp: Language, name: str, *, component: str | None = None, **settings: Any) -> None:
    """Put a fresh adapter beside the others and make it active, to train it next.

    nlp, component: as in `find_shim`.
    name: its name, not in use yet.
    settings: rank, alpha and the like, where they differ from the pipeline's configuration.
    Raises ValueError where the name is taken or a setting is unknown.
    """
    shim = find_shim(nlp, component)
    _require_new(shim, name)
    unknown = settings.keys() - set(LORA_ONLY)
    if unknown:
        raise ValueError(f"Unknown LoRA settings {sorted(unknown)}: there are {LORA_ONLY}.")
    model = next(m for c, _, m in lora_models(nlp) if component in (None, c))
    shim.add_adapter(name, lora_config(shim.plain_model(), model.attrs["lora"] | settings))
    shim.activate(name)


def export_adapter(
    nlp: Language, path: str | Path, *, name: str | None = None, component: str | None = None
) -> Path:
    """Write an adapter as a directory in PEFT's own format.

    nlp, component: as in `find_shim`.
    path: the directory; an adapter that is there already is replaced, anything else is not.
    name: which adapter; by default the active one.
    Raises ValueError for an unknown adapter, FileExistsError for a path with other contents.
    """
    shim = find_shim(nlp, component)
    model = shim.peft_model
    name = name or str(model.active_adapter)
    _require(model.peft_config, name)
    target = Path(path)
    if target.exists() and not (target.is_dir() and _is_adapter_or_empty(target)):
        raise FileExistsError(f"{target} exists and is no adapter: choose another path.")
    config = copy.copy(model.peft_config[name])
    config.base_model_name_or_path = shim.base.get("name")
    config.inference_mode = True
    header = {"format": "pt", BASE_HEADER: json.dumps(shim.base, sort_keys=True)}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        new = Path(folder, "adapter")
        config.save_pretrained(str(new))
        state = {k: v.contiguous().cpu() for k, v in adapter_state(model, name).items()}
        save_file(state, new / WEIGHTS_FILE, metadata=header)
        if target.exists():
            shutil.rmtree(target)
        new.rename(target)
    return target


def load_adapter(
    nlp: Language,
    path: str | Path,
    *,
    name: str | None = None,
    check_base: bool = True,
    component: str | None = None,
) -> str:
    """Load an adapter from PEFT's format, also one trained by plain Transformers and PEFT.

    The encoder part of an adapter that was trained under a task head is taken, the head is not.

    nlp, component: as in `find_shim`.
    path: a directory with adapter_config.json and adapter_model.safetensors.
    name: its name in the pipeline; by default that of the directory.
    check_base: compare the name and hash of the base it was trained on with this encoder's.
    Returns the name; the adapter is active.
    Raises CheckpointError where it is no LoRA adapter, or one of another base.
    """
    shim = find_shim(nlp, component)
    folder = Path(path)
    name = name or folder.resolve().name.replace(".", "_")
    _require_new(shim, name)
    config = _read_config(folder)
    weights = folder / WEIGHTS_FILE
    if check_base:
        header = json.loads(read_header(weights.read_bytes()).get(BASE_HEADER, "{}"))
        _check_base(shim, header or _named_base(config), folder)
    prefix = getattr(shim.plain_model(), "base_model_prefix", "")
    state = _encoder_part(load_file(weights), prefix)
    config.modules_to_save = config.task_type = config.auto_mapping = None
    config.inference_mode = False
    try:
        shim.add_adapter(name, config)
        load_adapter_state(shim.peft_model, name, state)
    except ValueError as error:
        if name in shim.peft_model.peft_config:
            shim.peft_model.delete_adapter(name)
        raise CheckpointError(f"{folder}: {error}") from error
    shim.activate(name)
    return name


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
    encoder = shim.peft_model.merge_and_unload(safe_merge=True)
    encoder.requires_grad_(True)
    old = shim._hfmodel
    objects = HFObjects(old.tokenizer, encoder, old.vocab_file_contents, {}, {})
    settings: Any = model.attrs["name"], model.attrs["get_spans"], {}, {}, shim._mixed_precision, {}
    if architecture == STOCK:
        merged = StockTransformerModel(*settings)
    else:
        checkpointing = model.attrs["gradient_checkpointing"]
        merged = TransformerModel(*settings, gradient_checkpointing=checkpointing)
        merged.shim.base = shim.base
    set_pytorch_transformer(merged, objects)
    return merged


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


def _read_config(folder: Path) -> LoraConfig:
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(f"{folder} holds no {CONFIG_FILE}: it is no PEFT adapter.")
    if not (folder / WEIGHTS_FILE).is_file():
        raise CheckpointError(
            f"{folder} holds no {WEIGHTS_FILE}: save the adapter with safe_serialization=True."
        )
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise CheckpointError(f"{folder} is an adapter of type {config.peft_type}, not LoRA.")
    return config


def _named_base(config: LoraConfig) -> dict[str, str]:
    name = config.base_model_name_or_path
    if not name:
        return {}
    if weight_file(name) is None:
        return {"name": name}
    source = Path(name, "config.json")
    values = json.loads(source.read_text("utf8")) if source.is_file() else {}
    return describe_base(name, type("Config", (), {SOURCE_KEY: values.get(SOURCE_KEY)}))


def _check_base(shim: LoraShim, theirs: dict[str, str], folder: Path) -> None:
    ours = shim.base
    for key, what in (("sha256", "hash"), ("name", "name")):
        if key in ours and key in theirs:
            # Directories move about: of a path only the last part is its name.
            if ours[key] == theirs[key] or Path(ours[key]).name == Path(theirs[key]).name:
                return
            raise CheckpointError(
                f"{folder} was trained on another base: {what} {theirs[key]!r}, this encoder's "
                f"is {ours[key]!r}."
            )


def _encoder_part(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    start = "base_model.model."
    headed = f"{start}{prefix}."
    if not prefix or not any(key.startswith(headed) for key in state):
        return state
    return {
        start + key.removeprefix(headed): tensor
        for key, tensor in state.items()
        if key.startswith(headed)
    }


def _is_adapter_or_empty(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() or not any(folder.iterdir())


def _require(known: dict[str, Any], name: str) -> None:
    if name not in known:
        raise ValueError(f"There is no adapter {name!r}: the pipeline has {sorted(known)}.")


def _require_new(shim: LoraShim, name: str) -> None:
    if name in shim.peft_model.peft_config:
        raise ValueError(f"There is an adapter {name!r} already: give the new one another name.")
