"""Teach an encoder the trade's language by masked language modelling, as a LoRA adapter."""

import random
import time
from pathlib import Path
from typing import Annotated

import matplotlib
import matplotlib.pyplot as plt
import srsly
import torch
import typer
from rich.progress import track
from wasabi import msg

from spacy_goback.annotations import AnnotationError
from spacy_goback.base import sha256_file
from spacy_goback.cli import fail, write_text
from spacy_goback.markdown import table
from spacy_goback.masking import Rows, pack, read_texts
from spacy_goback.pretraining import PROGRESS, Plan, Pretrainer, fold
from spacy_goback.tensors import CheckpointError

matplotlib.use("agg")
HELD_OUT = 0.02
CARD = """\
# What the encoder learned of its trade

Masked language modelling on top of {base}: {form}, {steps} steps of {batch} rows of {length} word
pieces, peak learning rate {rate:g}, seed {seed}. Held-out loss {first:.3f} before, {last:.3f} nats
a hidden piece after ([curve](loss.png)).

{table}

{credits}"""


def main(
    texts: Annotated[
        list[str], typer.Argument(help="Files (.txt, .txt.xz, .jsonl), with a weight as FILE:4")
    ],
    encoder: str = "assets/encoder",
    output: Annotated[Path, typer.Option(help="Gets the adapter")] = Path(
        "training/domain-adapter"
    ),
    work: Annotated[Path, typer.Option(help="Checkpoints; a started one is resumed")] = Path(
        "training/domain"
    ),
    folded: Annotated[Path | None, typer.Option(help="Gets encoder and adapter in one")] = None,
    rank: Annotated[int, typer.Option(help="Of the adapter; 0 trains all weights")] = 32,
    alpha: int = 64,
    steps: int = 2000,
    batch: int = 32,
    length: int = 128,
    rate: float = 5e-4,
    seed: int = 0,
    minutes: Annotated[float, typer.Option(help="Pause after so long; run again to resume")] = 1e9,
    every: Annotated[int, typer.Option(help="Steps between checkpoints")] = 100,
    credits: Annotated[
        Path | None, typer.Option(help="Sources and licences of the texts, for the card")
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="--work of another training, drawn beside this one")
    ] = None,
    gpu_id: int = -1,
) -> None:
    """Train, or resume; write the adapter when all steps are done."""
    plan = Plan(encoder, rank, alpha, length, batch, steps, rate, seed=seed)
    try:
        trainer = Pretrainer(plan, "cpu" if gpu_id < 0 else f"cuda:{gpu_id}")
        rows, held_out = read_rows(texts, trainer)
        if (work / PROGRESS).is_file():
            trainer.resume(work)
            msg.info(f"{work}: resumed at step {trainer.progress.step}")
    except (AnnotationError, CheckpointError) as error:
        fail(error)
    msg.info(f"{len(rows)} rows of {length} pieces to train on, {len(held_out)} held out")
    run(trainer, rows, held_out, work, every, minutes)
    if trainer.progress.step < steps:
        msg.warn(f"Paused at step {trainer.progress.step} of {steps}: run again to go on")
        raise typer.Exit(2)
    trainer.export(output)
    draw([work, *(beside or [])], output / "loss.png")
    write_text(output / "README.md", card(trainer, texts, credits))
    msg.good(f"{output}: held-out loss {trainer.progress.held_out[-1][1]:.3f} nats a piece")
    if folded and rank:
        fold(encoder, output, folded)
        msg.good(f"{folded}: encoder with the adapter folded in")


def read_rows(texts: list[str], trainer: Pretrainer) -> tuple[Rows, Rows]:
    """Rows to train on, weighted by repetition, and rows of texts that are held out."""
    train: list[str] = []
    held_out: list[str] = []
    for argument in texts:
        name, _, weight = argument.partition(":")
        rng = random.Random(0)
        for text in read_texts(Path(name)):
            if rng.random() < HELD_OUT:
                held_out.append(text)
            else:
                train += [text] * int(weight or 1)
    random.Random(0).shuffle(train)
    rows, rest = (pack(part, trainer.tokenizer, trainer.plan.length) for part in (train, held_out))
    if not len(rows) or not len(rest):
        fail(f"{', '.join(texts)}: too little text, not one row of {trainer.plan.length} pieces.")
    return rows, rest


def run(
    trainer: Pretrainer, rows: Rows, held_out: Rows, work: Path, every: int, minutes: float
) -> None:
    """Train from checkpoint to checkpoint until the plan or the time is at its end."""
    start, first = time.monotonic(), trainer.progress.step
    if first == 0:
        trainer.evaluate(held_out)
    while trainer.progress.step < trainer.plan.steps and time.monotonic() - start < 60 * minutes:
        until = min(trainer.progress.step + every, trainer.plan.steps)
        steps = trainer.train(rows, until)
        losses = list(track(steps, f"to {until}", every, transient=True))
        loss = trainer.evaluate(held_out)
        trainer.save(work)
        pieces = (trainer.progress.step - first) * trainer.plan.batch * trainer.plan.length
        speed = pieces / (time.monotonic() - start)
        typer.echo(
            f"step {until}: loss {sum(losses) / len(losses):.3f}, held out {loss:.3f}, "
            f"{speed:,.0f} pieces/s on {torch.get_num_threads()} threads"
        )


def card(trainer: Pretrainer, texts: list[str], credits: Path | None) -> str:
    """What was trained, on what, and under which licences."""
    plan, losses = trainer.plan, trainer.progress.held_out
    form = f"a LoRA adapter of rank {plan.rank}, alpha {plan.alpha}" if plan.rank else "all weights"
    rows = []
    for argument in texts:
        name, _, weight = argument.partition(":")
        words = sum(len(text.split()) for text in read_texts(Path(name)))
        rows.append((Path(name).name, f"{words:,}", weight or 1, sha256_file(Path(name))[:16]))
    return CARD.format(
        **vars(plan),
        base=trainer.base["name"],
        form=form,
        first=losses[0][1],
        last=losses[-1][1],
        table=table(["text", "words", "weight", "SHA-256"], rows, left=(0, 3)),
        credits=credits.read_text("utf8") if credits else "",
    )


def draw(works: list[Path], target: Path) -> None:
    """Plot the losses of one training or several against steps."""
    figure, axis = plt.subplots(figsize=(7, 4))
    for work in works:
        note = srsly.read_json(work / PROGRESS)
        name = f"adapter of rank {note['plan']['rank']}" if note["plan"]["rank"] else "all weights"
        axis.plot(*zip(*note["held_out"], strict=True), label=f"{name}, held out", marker=".")
        color = axis.lines[-1].get_color()
        axis.plot(*zip(*note["trained"], strict=True), label="training", alpha=0.2, color=color)
    axis.set_xlabel("steps")
    axis.set_ylabel("nats a hidden piece")
    axis.legend()
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    typer.run(main)
