"""Keep what a training made, without the encoder, or put it back on the encoder."""

import shutil
from pathlib import Path
from typing import Annotated

import spacy
import typer
from wasabi import msg

from spacy_goback.cli import fail
from spacy_goback.release import assemble, export_release
from spacy_goback.tensors import CheckpointError

METRICS = "metrics"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def keep(
    pipeline: Path,
    release: Path = Path("release"),
    metrics: Annotated[list[Path] | None, typer.Option(help="Reports to keep with it")] = None,
) -> None:
    """Write RELEASE from a trained pipeline."""
    if not (pipeline / "meta.json").is_file():
        fail(f"{pipeline} is no trained pipeline: run the step `train` first.")
    try:
        export_release(spacy.load(pipeline), release)
    except (ValueError, FileExistsError) as error:
        fail(error)
    (release / METRICS).mkdir()
    for report in metrics or ():
        shutil.copy(report, release / METRICS)
    size = sum(file.stat().st_size for file in release.rglob("*") if file.is_file())
    msg.good(f"{release}: {size / 1e6:.1f} MB")


@app.command("assemble")
def put_together(
    release: Path = Path("release"),
    encoder: str = "assets/encoder",
    output: Path = Path("training/release/model-best"),
) -> None:
    """Write the pipeline that RELEASE was made of, without training."""
    try:
        nlp = assemble(release, encoder)
    except CheckpointError as error:
        fail(error)
    output.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(output)
    msg.good(f"{output}: assembled from {release} and {encoder}")


if __name__ == "__main__":
    app()
