"""Fetch the default encoder from the package index, or check that another one can be loaded."""

from pathlib import Path
from typing import Annotated

import srsly
import typer
from transformers import AutoConfig
from wasabi import msg

from spacy_goback.base import describe_base
from spacy_goback.cli import fail, write_text
from spacy_goback.encoder import EncoderError, check_other, fetch, is_current

DEFAULT = Path("assets/encoder")


def main(
    encoder: Annotated[str, typer.Argument(help="Name or path of the encoder")] = str(DEFAULT),
    stamp: Annotated[Path | None, typer.Option(help="Write its name and hash here")] = None,
) -> None:
    """Leave the default encoder in assets/encoder; another name is only checked."""
    try:
        if Path(encoder) != DEFAULT:
            msg.good(f"Encoder {encoder} is of type {check_other(encoder)}")
        elif is_current(DEFAULT):
            msg.good(f"{DEFAULT} is up to date")
        else:
            difference = fetch(DEFAULT)
            msg.good(f"{DEFAULT}: converted, differs from the original by {difference:.1e}")
    except EncoderError as error:
        fail(error)
    if stamp:
        base = describe_base(encoder, AutoConfig.from_pretrained(encoder))
        write_text(stamp, srsly.json_dumps(base, indent=1))


if __name__ == "__main__":
    typer.run(main)
