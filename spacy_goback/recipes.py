"""Training a recipe of `configs/` in a process of its own, once, with what it cost."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import spacy
import srsly

from .files import write_bytes

DONE = "finished.json"
TRAIN, DEV = Path("corpus/train.spacy"), Path("corpus/dev.spacy")


class TrainingError(RuntimeError):
    """`spacy train` failed; the message names the recipe."""


@dataclass(frozen=True)
class Cost:
    """What a training took: wall-clock minutes and peak resident memory in GB."""

    minutes: float
    memory_gb: float


def train(config: Path, output: Path, overrides: Mapping[str, object], gpu_id: int = -1) -> Cost:
    """Train a recipe, unless OUTPUT holds the result of the very same recipe, data and overrides.

    config: the recipe.
    output: gets `model-best`, `model-last` and a note of what was trained.
    overrides: settings by dotted name, as on spaCy's command line ("paths.train").
    gpu_id: GPU, -1 for the CPU.
    Raises TrainingError where spaCy ends with an error.
    """
    note, mark = output / DONE, fingerprint(config, overrides)
    if note.is_file():
        # srsly's reader is off by a last bit at times: the figures must come back as they were.
        known = json.loads(note.read_bytes())
        if known.pop("fingerprint") == mark:
            return Cost(**known)
    settings = []
    for key, value in overrides.items():
        plain = isinstance(value, str | Path)
        settings += [f"--{key}", str(value) if plain else srsly.json_dumps(value)]
    command = [sys.executable, "-m", "spacy", "train", str(config), "--output", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--gpu-id", str(gpu_id), *settings])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it again
    if status:
        raise TrainingError(f"{config}: training failed, see the messages above.")
    minutes = round((time.perf_counter() - start) / 60, 3)
    cost = Cost(minutes, round(usage.ru_maxrss / 1e6, 3))
    write_bytes(note, srsly.json_dumps({**asdict(cost), "fingerprint": mark}).encode())
    return cost


def settings(config: Path, encoder: str, seed: int, data: Path = TRAIN) -> dict[str, object]:
    """The overrides of one training in the project's folder.

    config: the recipe; one without an encoder is given none.
    encoder: a path or a name on a model hub.
    seed: of everything random.
    data: the training set, a DocBin.
    """
    found: dict[str, object] = {"paths.train": data, "paths.dev": DEV, "system.seed": seed}
    paths = spacy.util.load_config(config, interpolate=False)["paths"]
    return found | ({"paths.encoder": encoder} if "encoder" in paths else {})


def fingerprint(config: Path, overrides: Mapping[str, object]) -> str:
    """What a training depends on, as a hash: recipe, overrides, and the files that these name.

    config: the recipe.
    overrides: settings by dotted name.
    """
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in overrides.items()}
    # Comments, layout and settings that are overridden are not part of a recipe.
    recipe = spacy.util.load_config(config, plain, interpolate=False)
    digest = hashlib.sha256(recipe.to_bytes())
    for _, value in sorted(plain.items()):
        if isinstance(value, str) and Path(value).is_file():
            digest.update(Path(value).read_bytes())
    return digest.hexdigest()
