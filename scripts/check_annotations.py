"""Refuse annotations that would poison training: bad spans, leaks between splits, templates."""

from collections import Counter
from pathlib import Path

import srsly
import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_goback.annotations import (
    LABELS,
    AnnotationError,
    Record,
    problems,
    read_jsonl,
)
from spacy_goback.cli import fail, write_text
from spacy_goback.corpus import frame_problems, split_problems, wording_problems
from spacy_goback.tokenizer import blank


def main(files: list[Path], output: Path | None = None) -> None:
    """Check one JSONL file a split; every problem is a line with file, line and reason."""
    nlp = blank()
    try:
        one_folder = len({file.stem for file in files}) == len(files)
        splits = {file.stem if one_folder else str(file): read_jsonl(file) for file in files}
    except AnnotationError as error:
        fail(error)
    found = [p for records in splits.values() for r in records for p in problems(r, nlp)]
    found += [*split_problems(splits), *wording_problems(splits)]
    found += frame_problems(r for records in splits.values() for r in records)
    for problem in found:
        typer.echo(problem, err=True)
    counts = {split: count(records) for split, records in splits.items()}
    show(counts)
    if found:
        fail(f"{len(found)} problems in {', '.join(map(str, files))}: mend the lines above.")
    if output:
        write_text(output, srsly.json_dumps(counts, indent=1))
    msg.good("No problems")


def count(records: list[Record]) -> dict[str, int]:
    """How many documents, records and spans of each label a split has."""
    labels = Counter(e.label for r in records for e in r.entities)
    return {
        "documents": len({r.document for r in records}),
        "records": len(records),
        "without entity": sum(not r.entities for r in records),
        **{label: labels[label] for label in LABELS},
    }


def show(counts: dict[str, dict[str, int]]) -> None:
    """Print the counts, a column a split."""
    table = Table("", *counts)
    for row in next(iter(counts.values())):
        cells = (str(split[row]) for split in counts.values())
        table.add_row(row, *cells, end_section=row == "without entity")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
