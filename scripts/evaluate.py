"""Score a pipeline against gold annotations: tables, confusion, a page of errors."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import confidences
import spacy
import srsly
import typer
from rich.console import Console
from rich.markdown import Markdown
from spacy.tokens import Doc, DocBin

from spacy_goback.cli import fail, write_text
from spacy_goback.metrics import confusion, confusion_table, score, score_table
from spacy_goback.pages import render_differences

LOG = Path("metrics/test_log.jsonl")


def main(
    model: str,
    gold: Path,
    output: Annotated[Path, typer.Option(help="Folder for the report")] = Path("metrics"),
    gpu_id: Annotated[int, typer.Option(help="GPU, -1 for the CPU")] = -1,
) -> None:
    """Write OUTPUT/NAME.json, .md, -errors.html and what the confidences are worth, -confidence.md
    with two pictures; opening the test set is logged.
    """
    if not gold.is_file():
        fail(f"{gold}: there is no such file; run the step `convert` first.")
    if gpu_id >= 0:
        spacy.require_gpu(gpu_id)
    try:
        nlp = spacy.load(model)
    except OSError as error:
        fail(f"{model}: {error}")
    references = list(DocBin().from_disk(gold).get_docs(nlp.vocab))
    predicted = list(nlp.pipe(doc.text for doc in references))
    pairs = list(zip(predicted, references, strict=True))
    report(pairs, gold.stem, model, output)
    if confidences.has_confidences(pairs):
        confidences.report(model, pairs, gold.stem, output)


def scores_of(folder: Path, gold: Path, gpu_id: int = -1) -> dict[str, dict[str, float]]:
    """The scores of FOLDER/model-best, in a process of its own; not again if they are there."""
    model, known = folder / "model-best", folder / f"{gold.stem}.json"
    if not known.is_file() or known.stat().st_mtime < (model / "meta.json").stat().st_mtime:
        command = [sys.executable, __file__, str(model), str(gold), "--output", str(folder)]
        command += ["--gpu-id", str(gpu_id)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    scores: dict[str, dict[str, float]] = srsly.read_json(known)["scores"]
    return scores


def report(pairs: list[tuple[Doc, Doc]], name: str, model: str, output: Path) -> None:
    """Write the three files and print the table; the test set's score goes into the log."""
    scores, counts = score(pairs), confusion(pairs)
    values = {
        label: {"precision": s.precision, "recall": s.recall, "f1": s.f1, "support": s.gold}
        for label, s in scores.items()
    }
    confused = [[*pair, n] for pair, n in sorted(counts.items())]
    data = {"model": model, "texts": len(pairs), "scores": values, "confusion": confused}
    text = (
        f"# Entities on {name}\n\n{model}: {len(pairs)} texts, exact match of characters and label"
        f"\n\n{score_table(scores)}\n\n## What was read as what\n\n{confusion_table(counts)}\n"
    )
    write_text(output / f"{name}.json", srsly.json_dumps(data, indent=1))
    write_text(output / f"{name}.md", text)
    write_text(output / f"{name}-errors.html", render_differences(pairs, f"Errors on {name}"))
    if name == "test":
        log_opening(model, scores["all"].f1)
    Console().print(Markdown(score_table(scores)))


def log_opening(model: str, f1: float) -> None:
    """Append when, for which commit and with what result the test set was opened."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"when": when, "commit": commit.stdout.strip(), "model": model, "f1": round(f1, 4)}
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a", encoding="utf8") as file:
        file.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    typer.run(main)
