"""A Thinc model's weights as one safetensors file, in place of Thinc's own msgpack."""

import json
from typing import Any, TypeVar

import numpy
from safetensors import SafetensorError
from safetensors.numpy import load, save
from thinc.api import Model

NODES = "nodes"
InT = TypeVar("InT")
OutT = TypeVar("OutT")


class WeightsError(ValueError):
    """Saved weights that do not fit the model; the message says where."""


class SafetensorsModel(Model[InT, OutT]):
    """A Thinc model that saves itself and its layers as safetensors."""

    def to_bytes(self) -> bytes:
        """Every parameter of the model and its layers; shims as the bytes that they give."""
        tensors: dict[str, Any] = {}
        nodes = []
        for i, node in enumerate(self.walk()):
            dims = {d: node.get_dim(d) for d in node.dim_names if node.has_dim(d)}
            nodes.append({"name": node.name, "dims": dims})
            for name in node.param_names:
                if node.has_param(name):
                    array = self.ops.to_numpy(node.get_param(name))  # type: ignore[no-untyped-call]
                    tensors[f"{i}.{name}"] = numpy.ascontiguousarray(array)
            for j, shim in enumerate(node.shims):
                data: bytes = shim.to_bytes()  # type: ignore[no-untyped-call]
                tensors[f"{i}.shim.{j}"] = numpy.frombuffer(data, dtype="uint8")
        return bytes(save(tensors, {NODES: json.dumps(nodes)}))

    def from_bytes(self, bytes_data: bytes) -> "SafetensorsModel[InT, OutT]":
        """Load what `to_bytes` gave into a model of the same build, initialized or not.

        bytes_data: a whole safetensors file.
        Raises WeightsError where the file is broken or of another build.
        """
        try:
            tensors = load(bytes_data)
            length = int.from_bytes(bytes_data[:8], "little")
            header = json.loads(bytes_data[8 : 8 + length])
            saved = json.loads(header["__metadata__"][NODES])
        except (SafetensorError, ValueError, KeyError) as error:
            raise WeightsError(f"The weights are no whole safetensors file ({error}).") from error
        nodes = list(self.walk())
        # Names of composed nodes still tell of a layer that was replaced in them.
        if len(nodes) != len(saved) or any(
            node.name != entry["name"]
            for node, entry in zip(nodes, saved, strict=True)
            if not node.layers
        ):
            raise WeightsError(
                f"The weights are of another model: {[e['name'] for e in saved]} saved, "
                f"{[node.name for node in nodes]} built."
            )
        for i, (node, entry) in enumerate(zip(nodes, saved, strict=True)):
            for dim, size in entry["dims"].items():
                node.set_dim(dim, size, force=True)
            for name in node.param_names:
                if f"{i}.{name}" in tensors:
                    array: Any = tensors[f"{i}.{name}"]
                    loaded: Any = self.ops.asarray(array)
                    node.set_param(name, loaded)
            for j, shim in enumerate(node.shims):
                node.shims[j] = shim.from_bytes(tensors[f"{i}.shim.{j}"].tobytes())
        return self
