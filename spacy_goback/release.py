"""What a training made, without the encoder it started from: a few megabytes, and back again."""

import shutil
import tempfile
from pathlib import Path

from spacy.language import Language
from spacy.util import load_config, load_model_from_config

from .adapters import export_adapter, find_shim, load_adapter, lora_models
from .tensors import CheckpointError

ADAPTER = "adapter"
ARCHITECTURE = "goback.LoraTransformerModel.v1"


def _encoder_component(nlp: Language) -> str:
    names = [name for name, parent, _ in lora_models(nlp) if parent is None]
    if len(names) != 1:
        raise ValueError(
            f"A release is made of a pipeline with one LoRA encoder that others listen to; this "
            f"one has {len(names)}."
        )
    return names[0]


def export_release(nlp: Language, path: Path) -> Path:
    """Write all of a pipeline but its encoder's frozen weights.

    nlp: a trained pipeline with one LoRA encoder.
    path: a folder; what a release left there before is replaced.
    Raises ValueError where the pipeline has no such encoder, FileExistsError where the folder
    holds something else.
    """
    encoder = _encoder_component(nlp)
    if path.exists() and not (path / ADAPTER).is_dir() and any(path.iterdir()):
        raise FileExistsError(f"{path} exists and is no release: choose another path.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".release-") as folder:
        target = Path(folder, "release")
        nlp.to_disk(target, exclude=["vocab", encoder])
        export_adapter(nlp, target / ADAPTER, component=encoder)
        shutil.rmtree(path, ignore_errors=True)
        target.rename(path)
    return path


def assemble(release: Path, encoder: str) -> Language:
    """Put a release back on its encoder: the pipeline that was trained.

    release: a folder that `export_release` wrote.
    encoder: name or path of the encoder, the very one of the training.
    Raises CheckpointError where the folder is no release, or of another encoder.
    """
    if not (release / ADAPTER).is_dir() or not (release / "config.cfg").is_file():
        raise CheckpointError(f"{release} is no release: it holds no {ADAPTER}/ or no config.cfg.")
    config = load_config(release / "config.cfg", interpolate=False)
    for settings in config["components"].values():
        if settings.get("model", {}).get("@architectures") == ARCHITECTURE:
            settings["model"]["name"] = encoder
    nlp = load_model_from_config(config.interpolate(), validate=False)
    component = _encoder_component(nlp)
    nlp.get_pipe(component).model.initialize()  # type: ignore[attr-defined]
    shim = find_shim(nlp, component)
    fresh = str(shim.peft_model.active_adapter)
    load_adapter(nlp, release / ADAPTER, name="release", component=component)
    shim.peft_model.delete_adapter(fresh)
    nlp.from_disk(release, exclude=["vocab", component])
    nlp.config = config
    return nlp
