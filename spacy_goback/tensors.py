"""State dicts as safetensors bytes, tied tensors stored once."""

import json
from collections.abc import Mapping

import srsly
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

ALIASES = "aliases"


class CheckpointError(ValueError):
    """A saved model that cannot be loaded as it is; the message says why in one sentence."""


def find_aliases(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map every tensor name that shares its storage with an earlier one to that earlier name.

    state: tensors of any shape by name, as `torch.nn.Module.state_dict` gives them.
    """
    first: dict[tuple[object, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in state.items():
        if tensor.numel() == 0:
            continue
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if key in first:
            aliases[name] = first[key]
        else:
            first[key] = name
    return aliases


def pack(state: Mapping[str, torch.Tensor], **header: str) -> bytes:
    """Serialize a state dict with safetensors; aliases go into the header as a JSON map.

    state: tensors of any shape by name.
    header: further strings for the safetensors header.
    """
    aliases = find_aliases(state)
    # safetensors wants every tensor dense and owning its memory.
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in state.items()
        if name not in aliases
    }
    # save() writes the header's strings in an order that changes from call to call.
    return _set_header(save(tensors), {"format": "pt", ALIASES: json.dumps(aliases), **header})


def _set_header(data: bytes, strings: dict[str, str]) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = {"__metadata__": strings, **srsly.json_loads(data[8 : 8 + length].decode("utf8"))}
    text = json.dumps(header, separators=(",", ":")).encode("utf8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def unpack(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read `pack`'s bytes: the tensors that were stored, and the alias map.

    data: a whole safetensors file.
    Raises CheckpointError where the bytes are no safetensors file.
    """
    try:
        tensors = load(data)
        aliases: dict[str, str] = srsly.json_loads(read_header(data).get(ALIASES, "{}"))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"The weights are no whole safetensors file ({error}).") from error
    return tensors, aliases


def read_header(data: bytes) -> dict[str, str]:
    """The string map in the header of a safetensors file (empty where there is none).

    data: a whole safetensors file: 8 bytes with the header's length, the header as JSON, tensors.
    """
    length = int.from_bytes(data[:8], "little")
    header: dict[str, dict[str, str]] = srsly.json_loads(data[8 : 8 + length].decode("utf8"))
    return header.get("__metadata__", {})


def restore(module: torch.nn.Module, data: bytes, saved_with: str) -> None:
    """Load `pack`'s bytes into a module, strictly, and tie again what was tied.

    module: a freshly built module of the same architecture.
    data: a whole safetensors file.
    saved_with: the versions that wrote it, for the message.
    Raises CheckpointError where names or shapes differ: never a silent partial load.
    """
    tensors, aliases = unpack(data)
    for alias, name in aliases.items():
        tensors[alias] = tensors[name]
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    wrong = sorted(
        name
        for name in expected.keys() | tensors.keys()
        if name not in tensors or expected.get(name) != tensors[name].shape
    )
    if wrong:
        raise CheckpointError(
            f"The saved weights do not fit this model: {len(wrong)} tensors are missing, unknown "
            f"or of another shape (first: {wrong[0]!r}); they were saved with {saved_with}, "
            "so install those versions or train again."
        )
    dtypes = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(dtypes) == 1:
        module.to(dtypes.pop())
    module.load_state_dict(tensors)
    for alias, name in aliases.items():
        _tie(module, alias, name)


def _tie(module: torch.nn.Module, alias: str, name: str) -> None:
    owner, _, attribute = alias.rpartition(".")
    source, _, source_attribute = name.rpartition(".")
    shared = getattr(module.get_submodule(source), source_attribute)
    setattr(module.get_submodule(owner), attribute, shared)
