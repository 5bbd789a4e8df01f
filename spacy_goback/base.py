"""What an encoder was before anybody fine-tuned it: the identity that adapters are checked by."""

import hashlib
from pathlib import Path
from typing import Any

SOURCE_KEY = "goback_source"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits.

    path: the file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_base(name: str, config: Any) -> dict[str, str]:
    """Name and hash of a pretrained encoder, as far as they can be known.

    name: the name or path that it was loaded from.
    config: its Hugging Face configuration. A converted encoder carries the hash of the file that
        was downloaded in `goback_source`, since folded weights differ between CPUs in the last
        bit; it counts as long as the converted file is the one that was written then.
    """
    file = weight_file(name)
    if file is None:
        return {"name": name}
    found = sha256_file(file)
    source = getattr(config, SOURCE_KEY, None)
    if source and source.get("converted") == found:
        return {"name": source["name"], "sha256": source["sha256"]}
    return {"name": name, "sha256": found}


def weight_file(name: str) -> Path | None:
    """The file that holds the weights of a local or cached encoder, None where there is none.

    name: a directory, or a name on a model hub.
    """
    from transformers.utils import cached_file

    for candidate in WEIGHT_FILES:
        try:
            path = cached_file(name, candidate, local_files_only=True)
        except (OSError, ValueError):  # not there, or a path that is no name on a hub
            continue
        if path:
            return Path(path)
    return None
