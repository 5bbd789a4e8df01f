"""The `goback` command, and what the project's scripts share with it."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .files import write_bytes

if TYPE_CHECKING:
    from spacy.tokens import Doc

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def fail(error: Exception | str) -> NoReturn:
    """Print one line to standard error and end with exit code 1.

    error: what is wrong, where, and what to do.
    """
    typer.secho(f"Error: {error}", fg="red", err=True)
    raise typer.Exit(1)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; folders are made.

    path: the file.
    text: its content.
    """
    write_bytes(path, text.encode("utf8"))


@app.callback()
def main() -> None:
    """Read utility construction audits."""


@app.command()
def entities(
    source: Annotated[
        str, typer.Argument(help="Text file, a finding a line; - reads standard input")
    ],
    model: Annotated[str, typer.Option(help="Name or path of the pipeline")] = "en_goback",
    html: Annotated[Path | None, typer.Option(help="Write a page here")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write one JSON object a finding here")] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out what is less sure")
    ] = 0.0,
) -> None:
    """Show the entities of an audit."""
    import spacy
    import srsly
    from rich.console import Console

    from .confidence import entities as sure_entities
    from .pages import colored, render

    lines = _lines(source)
    try:
        nlp = spacy.load(model)
    except OSError:
        fail(f"There is no pipeline {model!r}: install its wheel, or give --model a path.")
    docs = list(nlp.pipe(lines))
    for doc in docs:
        doc.set_ents(list(sure_entities(doc, min_confidence)))
    console = Console()
    for doc in docs:
        console.print(colored(doc), soft_wrap=True)
    if html:
        name = "standard input" if source == "-" else Path(source).name
        write_text(html, render(docs, f"Entities of {name}", f"{model}, {len(docs)} findings"))
        console.print(f"Page: {html}")
    if jsonl:
        write_text(jsonl, "".join(f"{srsly.json_dumps(_to_json(doc))}\n" for doc in docs))
        console.print(f"JSON: {jsonl}")


@app.command("version")
def show_version() -> None:
    """Print the library's version."""
    typer.echo(version("spacy-goback"))


def _lines(source: str) -> list[str]:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text("utf8")
    except OSError as error:
        fail(f"{source}: {error.strerror}. Give a text file, or - for standard input.")
    except UnicodeDecodeError as error:
        fail(f"{source}: no UTF-8 text (byte {error.start}). Save it as plain text in UTF-8.")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        fail(f"{source}: holds no text. Write one finding a line.")
    return lines


def _to_json(doc: "Doc") -> dict[str, object]:
    found = [
        {
            "start": e.start_char,
            "end": e.end_char,
            "label": e.label_,
            "text": e.text,
            "confidence": e._.confidence and round(e._.confidence, 4),
        }
        for e in doc.ents
    ]
    return {"text": doc.text, "entities": found}
