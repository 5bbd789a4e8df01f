"""Compare recipes, encoders and settings of LoRA on the development set, resuming."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated

import srsly
import typer
from evaluate import scores_of
from rich.console import Console
from rich.markdown import Markdown
from spacy.util import load_config
from wasabi import msg

from spacy_goback.cli import fail, write_text
from spacy_goback.markdown import spread, table
from spacy_goback.recipes import DEV, TrainingError, settings, train

FOLDER = Path("training/tune")
MODEL, OPTIMIZER = "components.transformer.model", "training.optimizer.learn_rate"
# What LoRA changes, by the names that DistilBERT gives its layers.
TARGETS = {
    "qv": ["q_lin", "v_lin"],
    "attention": ["q_lin", "k_lin", "v_lin", "out_lin"],
    "all": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"],
    "embeddings": ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2", "word_embeddings"],
}
NONE = ""


@dataclass(frozen=True)
class Cell:
    """One combination of settings, trained with several seeds."""

    recipe: str
    encoder: str
    rank: str
    targets: str
    rate: str
    steps: int

    @property
    def config(self) -> Path:
        """The recipe's file."""
        return Path(f"configs/{self.recipe}.cfg")

    def folder(self, seed: int) -> Path:
        """Where the pipeline of a seed goes: its settings are its name.

        seed: from 0 on.
        """
        parts = (str(value).strip("/").replace("/", "_") for value in asdict(self).values())
        return FOLDER / "-".join([*filter(None, parts), str(seed)])

    def overrides(self, seed: int) -> dict[str, object]:
        """The settings, as `spacy train` takes them.

        seed: from 0 on.
        """
        found = settings(self.config, self.encoder, seed)
        if self.rank:
            found[f"{MODEL}.rank"] = int(self.rank)
        if self.targets:
            found[f"{MODEL}.target_modules"] = TARGETS[self.targets]
        return found | {
            f"{OPTIMIZER}.initial_rate": float(self.rate),
            f"{OPTIMIZER}.total_steps": self.steps,
            "training.max_steps": self.steps,
            "training.eval_frequency": max(1, self.steps // 5),
        }

    def score(self, seed: int) -> float | None:
        """F1 on the development set, None where that was not run.

        seed: from 0 on.
        """
        report = self.folder(seed) / "dev.json"
        return float(srsly.read_json(report)["scores"]["all"]["f1"]) if report.is_file() else None


def main(
    recipes: Annotated[str, typer.Option(help="Of configs/, commas between")] = "lora",
    encoders: Annotated[str, typer.Option(help="Paths or names")] = "assets/encoder",
    ranks: Annotated[str, typer.Option(help="Such as 4,16,64; the recipe's own if empty")] = NONE,
    targets: Annotated[str, typer.Option(help=f"Of {', '.join(TARGETS)}")] = NONE,
    rates: Annotated[str, typer.Option(help="Peak learning rates")] = NONE,
    steps: Annotated[int, typer.Option(help="The same for every cell")] = 3900,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 1,
    minutes: Annotated[float, typer.Option(help="Start nothing more after so long")] = 1e9,
    gpu_id: int = -1,
    output: Path = Path("metrics/tune.md"),
) -> None:
    """Train every combination that is not trained yet; say which were not run."""
    unknown = sorted({*targets.split(",")} - {NONE, *TARGETS})
    if unknown:
        fail(f"--targets {targets}: {', '.join(unknown)} is none of {', '.join(TARGETS)}.")
    try:
        for kind, values in ((int, ranks), (float, rates)):
            _ = [kind(value or 0) for value in values.split(",")]
    except ValueError as error:
        fail(f"--ranks and --rates take numbers, commas between: {error}.")
    axes = (axis.split(",") for axis in (recipes, encoders, ranks, targets, rates))
    cells = list(dict.fromkeys(cell_of(steps, *values) for values in itertools.product(*axes)))
    start = time.monotonic()
    for seed, cell in itertools.product(range(seeds), cells):
        if time.monotonic() - start < 60 * minutes:
            run(cell, seed, gpu_id)
    text = ranking(cells, seeds)
    write_text(output, f"# F1 on the development set, {steps} steps\n\n{text}\n")
    Console().print(Markdown(text))


def cell_of(steps: int, recipe: str, encoder: str, rank: str, targets: str, rate: str) -> Cell:
    """A cell; what is not given is as in the recipe, what the recipe does not have is left out."""
    try:
        config = load_config(f"configs/{recipe}.cfg", interpolate=False)
    except OSError:
        fail(f"--recipes {recipe}: there is no configs/{recipe}.cfg.")
    model = config["components"].get("transformer", {}).get("model", {})
    own = next((n for n, t in TARGETS.items() if t == model.get("target_modules")), NONE)
    has_lora = "rank" in model
    return Cell(
        recipe,
        encoder if "encoder" in config["paths"] else NONE,
        (rank or str(model["rank"])) if has_lora else NONE,
        (targets or own) if has_lora else NONE,
        rate or f"{config['training']['optimizer']['learn_rate']['initial_rate']:g}",
        steps,
    )


def run(cell: Cell, seed: int, gpu_id: int) -> None:
    """Train and score one cell, unless that is done; a failed one is left out."""
    folder = cell.folder(seed)
    try:
        train(cell.config, folder, cell.overrides(seed), gpu_id)
    except TrainingError as error:
        msg.warn(f"{error} {folder.name} is left out.")
        return
    scores_of(folder, DEV, gpu_id)


def ranking(cells: list[Cell], seeds: int) -> str:
    """The cells from the best down, F1 as mean and standard deviation; then those not run."""
    found = [(cell, list(scores(cell, seeds))) for cell in cells]
    found.sort(key=lambda row: -mean(row[1]) if row[1] else 1)
    rows = (
        [c.recipe, c.encoder, c.rank, c.targets, c.rate, *summary(f1, seeds)] for c, f1 in found
    )
    head = ["recipe", "encoder", "rank", "targets", "rate", "F1", "seeds"]
    return table(head, rows, left=(0, 1, 3))


def summary(f1: list[float], seeds: int) -> tuple[str, str]:
    """F1 of a cell's runs, and how many there were."""
    return spread(f1) if f1 else "not run", f"{len(f1)} of {seeds}"


def scores(cell: Cell, seeds: int) -> Iterator[float]:
    """F1 of the seeds that were run."""
    for seed in range(seeds):
        score = cell.score(seed)
        if score is not None:
            yield score


if __name__ == "__main__":
    typer.run(main)
