"""Train on ever more of the documents and plot F1: does more writing pay, and for which labels?"""

import random
from pathlib import Path
from typing import Annotated

import matplotlib
import matplotlib.pyplot as plt
import srsly
import typer
from evaluate import scores_of
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from spacy_goback.cli import fail, write_text
from spacy_goback.files import write_bytes
from spacy_goback.recipes import DEV, TRAIN, TrainingError, settings, train

SHARES = (10, 25, 50, 100)
COLUMNS = 4
FOLDER = Path("training/curve")
matplotlib.use("agg")
Curve = dict[str, list[float]]


def main(
    recipe: str = "lora",
    encoder: str = "assets/encoder",
    gpu_id: int = -1,
    plot: Annotated[Path, typer.Option(help="Where the picture goes")] = Path(
        "docs/learning-curve.png"
    ),
) -> None:
    """Draw nested shares of the training documents; write the figures and the picture."""
    config, records, curve = Path(f"configs/{recipe}.cfg"), [], {}
    for share in SHARES:
        # All of the data is the first of the baselines: not trained twice.
        folder = FOLDER / str(share) if share < 100 else Path(f"training/baselines/{recipe}-0")
        data = folder / "train.spacy" if share < 100 else TRAIN
        records.append(draw(share, data))
        try:
            train(config, folder, settings(config, encoder, 0, data), gpu_id)
        except TrainingError as error:
            fail(error)
        scores = scores_of(folder, DEV, gpu_id)
        curve[share] = {label: score["f1"] for label, score in scores.items()}
    lines: Curve = {
        label: [curve[share].get(label, 0.0) for share in SHARES] for label in curve[100]
    }
    write_text(Path("metrics/curve.json"), srsly.json_dumps({"records": records, "f1": lines}))
    draw_picture(records, lines, plot)
    for label, values in lines.items():
        typer.echo(f"{label:15}" + "".join(f"{value:8.3f}" for value in values))


def draw(share: int, target: Path) -> int:
    """Write the records of the first documents in shuffled order, up to the share; how many."""
    docs = list(DocBin().from_disk(TRAIN).get_docs(Vocab()))
    if share == 100:
        return len(docs)
    by_document: dict[str, list[Doc]] = {}
    for doc in docs:
        by_document.setdefault(doc.user_data["record"]["meta"]["document"], []).append(doc)
    names = sorted(by_document)
    random.Random(0).shuffle(names)
    chosen: list[Doc] = []
    for name in names:
        if len(chosen) < len(docs) * share / 100:
            chosen += by_document[name]
    write_bytes(target, DocBin(docs=chosen, store_user_data=True).to_bytes())
    return len(chosen)


def draw_picture(records: list[int], lines: Curve, target: Path) -> None:
    """One small panel a label, all on one scale."""
    rows = -(-len(lines) // COLUMNS)
    size = (11, 0.5 + 2.2 * rows)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(lines) :]:
        axis.set_visible(False)
    for axis, (label, values) in zip(axes.flat, lines.items(), strict=False):
        axis.plot(records, values, marker="o", color="black" if label == "all" else "tab:blue")
        axis.set_title(f"{label}: {values[-1]:.3f}", fontsize=10)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(records))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_locator(NullLocator())
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    figure.supxlabel("training records (log scale)")
    figure.supylabel("F1 on dev")
    figure.tight_layout()
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    typer.run(main)
