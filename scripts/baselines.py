"""Train every recipe on the same data and print one table: F1, minutes, memory, size."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import spacy
import srsly
import typer
from rich.console import Console
from rich.markdown import Markdown
from spacy.language import Language
from spacy.tokens import DocBin
from thinc.api import Model

from spacy_goback.cli import fail, write_text
from spacy_goback.metrics import Score, score


def main(
    recipes: Annotated[list[str] | None, typer.Argument(help="Names of configs/*.cfg")] = None,
    encoder: str = "assets/encoder",
    seed: int = 0,
    gpu_id: int = -1,
    output: Path = Path("metrics/baselines.md"),
) -> None:
    """Train the recipes one after another and compare them on the development set."""
    rows = [
        measure(recipe, encoder, seed, gpu_id) for recipe in recipes or ["tok2vec", "lora", "full"]
    ]
    labels = sorted({label for row in rows for label in row["scores"]} - {"all"})
    text = table(rows, ["all", *labels])
    write_text(output, f"# Recipes on the development set, seed {seed}\n\n{text}\n")
    plain = [{**r, "scores": {k: s.f1 for k, s in r["scores"].items()}} for r in rows]
    write_text(output.with_suffix(".json"), srsly.json_dumps(plain, indent=1))
    Console().print(Markdown(text))


def measure(recipe: str, encoder: str, seed: int, gpu_id: int) -> dict[str, Any]:
    """Train one recipe in a process of its own and score its best checkpoint."""
    folder = Path("training", "baselines", recipe)
    command = [sys.executable, "-m", "spacy", "train", f"configs/{recipe}.cfg"]
    command += ["--output", str(folder), "--system.seed", str(seed), "--gpu-id", str(gpu_id)]
    if recipe != "tok2vec":
        command += ["--paths.encoder", encoder]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        fail(f"Training {recipe} failed: see the messages above.")
    minutes = (time.perf_counter() - start) / 60
    nlp = spacy.load(folder / "model-best")
    references = list(DocBin().from_disk("corpus/dev.spacy").get_docs(nlp.vocab))
    predicted = list(nlp.pipe(doc.text for doc in references))
    files = (file for file in (folder / "model-best").rglob("*") if file.is_file())
    return {
        "recipe": recipe,
        "scores": score(list(zip(predicted, references, strict=True))),
        "minutes": minutes,
        "memory_gb": usage.ru_maxrss / 1e6,
        "trainable": trainable_parameters(nlp),
        "size_mb": sum(file.stat().st_size for file in files) / 1e6,
    }


def trainable_parameters(nlp: Language) -> int:
    """Parameters that training changes: thinc's, and those of torch modules not frozen."""
    total, seen = 0, set()
    for _, component in nlp.components:
        model = getattr(component, "model", None)
        for node in model.walk() if isinstance(model, Model) else ():
            if node.id in seen:
                continue
            seen.add(node.id)
            total += sum(node.get_param(n).size for n in node.param_names if node.has_param(n))
            for shim in node.shims:
                total += sum(p.numel() for p in shim._model.parameters() if p.requires_grad)
    return int(total)


def table(rows: list[dict[str, Any]], labels: list[str]) -> str:
    """The recipes side by side as Markdown."""
    lines = [
        "| | " + " | ".join(row["recipe"] for row in rows) + " |",
        "|---|" + "---:|" * len(rows),
    ]
    for label in labels:
        cells = " | ".join(f"{row['scores'].get(label, Score(0, 0, 0)).f1:.3f}" for row in rows)
        lines.append(f"| F1 {label} | {cells} |")
    for name, form in (
        ("minutes", "{:.1f}"),
        ("memory_gb", "{:.1f}"),
        ("trainable", "{:,}"),
        ("size_mb", "{:.0f}"),
    ):
        lines.append(f"| {name} | " + " | ".join(form.format(row[name]) for row in rows) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
