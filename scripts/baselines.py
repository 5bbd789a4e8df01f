"""Train every recipe with several seeds on the same data and print one table."""

from pathlib import Path
from statistics import mean
from typing import Annotated

import spacy
import srsly
import typer
from evaluate import scores_of
from rich.console import Console
from rich.markdown import Markdown
from spacy.language import Language
from thinc.api import Model

from spacy_goback.cli import fail, write_text
from spacy_goback.markdown import spread, table
from spacy_goback.recipes import DEV, TrainingError, settings, train

# What is compared: a recipe, and what differs from it.
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "tok2vec": ("tok2vec", {}),
    "lora": ("lora", {}),
    "full": ("full", {}),
    "lora without noise": ("lora", {"corpora.train.augmenter.level": 0.0}),
}
FOLDER = Path("training/baselines")
# The gold sets of choices; the test set is asked for by name.
GOLD = [DEV, Path("corpus/dev-noisy.spacy")]
Row = dict[str, list[float]]


def main(
    variants: Annotated[list[str] | None, typer.Argument(help=", ".join(VARIANTS))] = None,
    encoder: str = "assets/encoder",
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 3,
    gpu_id: int = -1,
    test: Annotated[bool, typer.Option(help="Also open the test set, logged")] = False,
    output: Path = Path("metrics/baselines.md"),
) -> None:
    """Train what is not trained yet, score each model, show mean and standard deviation."""
    gold = [*GOLD, Path("corpus/test.spacy")] if test else GOLD
    rows: dict[str, Row] = {}
    for variant in variants or VARIANTS:
        found = [measure(variant, encoder, seed, gpu_id, gold) for seed in range(seeds)]
        rows[variant] = {name: [run[name] for run in found] for name in found[0]}
    names = dict.fromkeys(name for row in rows.values() for name in row)
    cells = ([name, *(cell(name, row[name]) for row in rows.values())] for name in names)
    text = table(["", *rows], cells)
    write_text(output, f"# Recipes, {seeds} seeds\n\n{text}\n")
    write_text(output.with_suffix(".json"), srsly.json_dumps(rows, indent=1))
    Console().print(Markdown(text))


def measure(
    variant: str, encoder: str, seed: int, gpu_id: int, gold: list[Path]
) -> dict[str, float]:
    """Train one variant with one seed and score its best checkpoint on every gold set."""
    recipe, overrides = VARIANTS[variant]
    config = Path(f"configs/{recipe}.cfg")
    folder = FOLDER / f"{variant.replace(' ', '-')}-{seed}"
    try:
        cost = train(config, folder, settings(config, encoder, seed) | overrides, gpu_id)
    except TrainingError as error:
        fail(error)
    best = folder / "model-best"
    row: dict[str, float] = {}
    for path in gold:
        scores = scores_of(folder, path, gpu_id)
        row |= {f"{path.stem} {label}": s["f1"] for label, s in scores.items()}
    files = (file for file in best.rglob("*") if file.is_file())
    row |= {"minutes": cost.minutes, "memory, GB": cost.memory_gb}
    row |= {"trainable": trainable_parameters(spacy.load(best))}
    return row | {"on disk, MB": sum(file.stat().st_size for file in files) / 1e6}


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


def cell(name: str, values: list[float]) -> str:
    """One figure in the precision that it deserves."""
    if name == "trainable":
        return f"{values[0]:,.0f}"
    if name in ("minutes", "memory, GB", "on disk, MB"):
        return f"{mean(values):.1f}"
    return spread(values)


if __name__ == "__main__":
    typer.run(main)
