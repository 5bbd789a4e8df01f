"""Fetch the default encoder from the package index, or check that another one can be loaded."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_goback.cli import fail
from spacy_goback.encoder import EncoderError, check_other, fetch, is_current

DEFAULT = Path("assets/encoder")


def main(encoder: str = typer.Argument(str(DEFAULT), help="Name or path of the encoder")) -> None:
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


if __name__ == "__main__":
    typer.run(main)
