"""Read utility construction audits with spaCy: LoRA encoders, entities, go-back decisions.

Names are imported on first use: `import spacy_goback` alone loads neither torch nor PEFT.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import (
        add_adapter,
        export_adapter,
        list_adapters,
        load_adapter,
        set_adapter,
    )
    from .confidence import entities
    from .merging import merge_adapter
    from .tensors import CheckpointError

__version__ = version("spacy-goback")

_HOMES = {
    "CheckpointError": "tensors",
    "add_adapter": "adapters",
    "entities": "confidence",
    "export_adapter": "adapters",
    "list_adapters": "adapters",
    "load_adapter": "adapters",
    "merge_adapter": "merging",
    "set_adapter": "adapters",
}
__all__ = [
    "CheckpointError",
    "__version__",
    "add_adapter",
    "entities",
    "export_adapter",
    "list_adapters",
    "load_adapter",
    "merge_adapter",
    "set_adapter",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
