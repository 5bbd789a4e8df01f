"""Convert annotations: Prodigy JSONL, inline markup, CoNLL/IOB, spaCy JSON and DocBin."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_goback.annotations import AnnotationError
from spacy_goback.cli import fail
from spacy_goback.formats import read, write
from spacy_goback.tokenizer import blank


def main(source: Path, target: Path) -> None:
    """Convert one file; the endings tell the formats (.jsonl .txt .json .iob .conll .spacy)."""
    nlp = blank()
    try:
        records = read(source)
        write(target, records, nlp)
    except AnnotationError as error:
        fail(error)
    kept = sum(record.answer == "accept" for record in records)
    spans = sum(len(record.entities) for record in records if record.answer == "accept")
    msg.good(f"{target}: {kept} of {len(records)} records accepted, {spans} entities")


if __name__ == "__main__":
    typer.run(main)
