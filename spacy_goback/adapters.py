"""Adapters come and go: export, load, switch, merge, on a pipeline with a LoRA encoder."""

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig
from safetensors.torch import save_file
from spacy.language import Language
from thinc.api import Model

from .base import SOURCE_KEY, describe_base, weight_file
from .lora import LoraTransformerModel, lora_config
from .lora_shim import LoraShim, adapter_state, load_adapter_state
from .tensors import CheckpointError, read_header, unpack

BASE_HEADER = "goback_base"
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
LORA_ONLY = (
    "rank",
    "alpha",
    "dropout",
    "target_modules",
    "use_rslora",
    "use_dora",
    "layers_to_transform",
)


def lora_models(
    nlp: Language,
) -> Iterator[tuple[str, Model[Any, Any] | None, LoraTransformerModel]]:
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


def find_model(nlp: Language, component: str | None = None) -> LoraTransformerModel:
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
    return next(iter(found.values()))


def find_shim(nlp: Language, component: str | None = None) -> LoraShim:
    """The shim that holds a pipeline's encoder and its adapters.

    nlp, component: as in `find_model`.
    """
    shim = find_model(nlp, component).shim
    assert isinstance(shim, LoraShim)
    return shim


def list_adapters(nlp: Language, *, component: str | None = None) -> tuple[str, ...]:
    """Names of the adapters on a pipeline's encoder, the active one first.

    nlp, component: as in `find_model`.
    """
    model = find_shim(nlp, component).peft_model
    active = str(model.active_adapter)
    return (active, *(name for name in model.peft_config if name != active))


def set_adapter(nlp: Language, name: str, *, component: str | None = None) -> None:
    """Make another adapter the active one: the one that predicts, and the only one that trains.

    nlp, component: as in `find_model`.
    name: its name.
    Raises ValueError where no adapter has that name.
    """
    shim = find_shim(nlp, component)
    _require(shim.peft_model.peft_config, name)
    shim.activate(name)


def add_adapter(nlp: Language, name: str, *, component: str | None = None, **settings: Any) -> None:
    """Put a fresh adapter beside the others and make it active, to train it next.

    nlp, component: as in `find_model`.
    name: its name, not in use yet.
    settings: rank, alpha and the like, where they differ from the pipeline's configuration.
    Raises ValueError where the name is taken or a setting is unknown.
    """
    shim = find_shim(nlp, component)
    _require_new(shim, name)
    unknown = settings.keys() - set(LORA_ONLY)
    if unknown:
        raise ValueError(f"Unknown LoRA settings {sorted(unknown)}: there are {LORA_ONLY}.")
    lora = find_model(nlp, component).attrs["lora"] | settings
    shim.add_adapter(name, lora_config(shim.plain_model(), lora))
    shim.activate(name)


def export_adapter(
    nlp: Language, path: str | Path, *, name: str | None = None, component: str | None = None
) -> Path:
    """Write an adapter as a directory in PEFT's own format.

    nlp, component: as in `find_model`.
    path: the directory: new, empty, or that of an adapter, whose two files are replaced.
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
    config.base_model_name_or_path = find_model(nlp, component).attrs["name"]
    config.inference_mode = True
    if isinstance(config, LoraConfig) and isinstance(config.target_modules, set):
        config.target_modules = sorted(config.target_modules)  # the same file every time
    header = {"format": "pt", BASE_HEADER: json.dumps(shim.base, sort_keys=True)}
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        config.save_pretrained(folder)
        state = {k: v.contiguous().cpu() for k, v in adapter_state(model, name).items()}
        save_file(state, Path(folder, WEIGHTS_FILE), metadata=header)
        for file in (WEIGHTS_FILE, CONFIG_FILE):
            Path(folder, file).chmod(0o644)
            Path(folder, file).replace(target / file)
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

    nlp, component: as in `find_model`.
    path: a directory with adapter_config.json and adapter_model.safetensors.
    name: its name in the pipeline; by default that of the directory.
    check_base: compare the name and hash of the base it was trained on with this encoder's.
    Returns the name; the adapter is active.
    Raises CheckpointError where it is no LoRA adapter, or one of another base.
    """
    shim = find_shim(nlp, component)
    folder = Path(path)
    name = name or folder.resolve().name
    _require_new(shim, name)
    config, state, header = _read(folder)
    if check_base:
        _check_base(shim, header or _named_base(config), folder)
    _require_plain(config, folder)
    config.modules_to_save = config.task_type = config.auto_mapping = None
    config.inference_mode, config.init_lora_weights = False, True
    prefix = getattr(shim.plain_model(), "base_model_prefix", "")
    try:
        shim.add_adapter(name, config)
        load_adapter_state(shim.peft_model, name, _encoder_part(state, prefix))
    except (ValueError, KeyError, RuntimeError) as error:
        if name in shim.peft_model.peft_config:
            shim.peft_model.delete_adapter(name)
        raise CheckpointError(f"{folder}: {error}") from error
    shim.activate(name)
    return name


def _read(folder: Path) -> tuple[LoraConfig, dict[str, torch.Tensor], dict[str, str]]:
    for file, advice in (
        (CONFIG_FILE, "it is no PEFT adapter"),
        (WEIGHTS_FILE, "save the adapter with safe_serialization=True"),
    ):
        if not (folder / file).is_file():
            raise CheckpointError(f"{folder} holds no {file}: {advice}.")
    try:
        config = PeftConfig.from_pretrained(str(folder))
        data = (folder / WEIGHTS_FILE).read_bytes()
        state, _ = unpack(data)
        header = json.loads(read_header(data).get(BASE_HEADER, "{}"))
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder} cannot be read as a PEFT adapter: {error}") from error
    if not isinstance(config, LoraConfig):
        raise CheckpointError(f"{folder} is an adapter of type {config.peft_type}, not LoRA.")
    return config, state, header


def _require_plain(config: LoraConfig, folder: Path) -> None:
    changes = {
        f"bias={config.bias!r}": config.bias != "none",
        "trainable_token_indices": bool(getattr(config, "trainable_token_indices", None)),
        f"init_lora_weights={config.init_lora_weights!r}": str(config.init_lora_weights)
        .lower()
        .startswith(("pissa", "olora", "corda", "loftq")),
    }
    for setting, used in changes.items():
        if used:
            raise CheckpointError(
                f"{folder} was trained with {setting}, which changes the base that other adapters "
                "share: train it without."
            )


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
    # PEFT makes the name a part of the tensors' names and takes those apart again.
    parts = {part for key in shim.peft_model.state_dict() for part in key.split(".")}
    if "." in name or name in parts or hasattr(torch.nn.ModuleDict, name):
        raise ValueError(
            f"An adapter cannot be called {name!r}, which is part of a tensor's name or holds a "
            "dot: give it another name."
        )
