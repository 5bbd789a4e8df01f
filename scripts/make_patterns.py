"""Write the pattern families of spacy_goback.patterns as files for the entity ruler."""

from pathlib import Path

import srsly
import typer

from spacy_goback.patterns import FAMILIES, family


def main(folder: Path = Path("assets/patterns")) -> None:
    """One JSONL file a family."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FAMILIES:
        srsly.write_jsonl(folder / f"{name}.jsonl", family(name))


if __name__ == "__main__":
    typer.run(main)
