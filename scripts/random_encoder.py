"""Write an encoder with random weights: what pretraining is worth, or a size to measure."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import AutoConfig, AutoModel, AutoTokenizer, DistilBertConfig
from wasabi import msg

from spacy_goback.base import SOURCE_KEY


def main(
    target: Path,
    source: Annotated[str, typer.Option(help="Encoder that gives the tokenizer")] = (
        "assets/encoder"
    ),
    base: Annotated[bool, typer.Option(help="DistilBERT-base's shape, not the source's")] = False,
    seed: int = 0,
) -> None:
    """Save a fresh encoder of the source's shape (or DistilBERT-base's) and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(source)
    shape = DistilBertConfig() if base else AutoConfig.from_pretrained(source)
    vars(shape).pop(SOURCE_KEY, None)
    encoder = AutoModel.from_config(shape)
    encoder.save_pretrained(target)
    tokenizer.save_pretrained(target)
    size = sum(parameter.numel() for parameter in encoder.parameters())
    msg.good(f"{target}: {size:,} parameters, all random")


if __name__ == "__main__":
    typer.run(main)
