"""The job that earlier systems publish, at its own size: what it costs, and what its F1 proves."""

import random
from pathlib import Path
from typing import Annotated

import spacy
import typer
from evaluate import scores_of
from spacy.tokens import DocBin
from spacy.util import load_config
from spacy.vocab import Vocab
from wasabi import msg

from spacy_goback.adapters import export_adapter
from spacy_goback.cli import fail, write_text
from spacy_goback.confidence import key
from spacy_goback.files import write_bytes
from spacy_goback.markdown import table
from spacy_goback.metrics import score_spans
from spacy_goback.recipes import DEV, TRAIN, TrainingError, settings, train

FOLDER = Path("training/published")
BATCH, RANK, ALPHA = 16, 16, 32
SENTENCES, DRAWS = 10, 1000
MODEL, LEARN = "components.transformer.model", "training.optimizer.learn_rate"


def main(
    encoder: Annotated[str, typer.Argument(help="Of DistilBERT-base's shape")],
    judged: Annotated[Path, typer.Option(help="Pipeline whose F1 is drawn from few texts")] = Path(
        "training/lora/model-best"
    ),
    records: int = 50,
    epochs: int = 50,
    gpu_id: int = -1,
    output: Path = Path("metrics/published.md"),
) -> None:
    """Train a few records for many epochs; then draw ten texts a time from the development set."""
    config, data = write_recipe(FOLDER / "published.cfg", records, epochs), FOLDER / "train.spacy"
    docs = DocBin().from_disk(TRAIN).get_docs(Vocab())
    few = random.Random(0).sample([doc for doc in docs if doc.ents], records)
    write_bytes(data, DocBin(docs=few).to_bytes())
    overrides = settings(config, encoder, 0, data) | {
        f"{MODEL}.rank": RANK,
        f"{MODEL}.alpha": ALPHA,
        f"{MODEL}.target_modules": ["q_lin", "v_lin"],
    }
    try:
        cost = train(config, FOLDER, overrides, gpu_id)
    except TrainingError as error:
        fail(error)
    scores = scores_of(FOLDER, DEV, gpu_id)
    nlp = spacy.load(FOLDER / "model-last")
    export_adapter(nlp, FOLDER / "adapter")
    size = (FOLDER / "adapter" / "adapter_model.safetensors").stat().st_size
    f1 = draws(judged)
    low, middle, high = (f1[round(share * (DRAWS - 1))] for share in (0.025, 0.5, 0.975))
    rows = {
        "records, epochs, batch": f"{records}, {epochs}, {BATCH}",
        "minutes": f"{cost.minutes:.1f}",
        "peak memory, GB": f"{cost.memory_gb:.2f}",
        "adapter, bytes": f"{size:,}",
        "F1 on the development set": f"{scores['all']['f1']:.3f}",
        f"{judged}: F1 on {SENTENCES} texts, middle": f"{middle:.3f}",
        f"the same, 95% of {DRAWS} draws": f"{low:.3f} to {high:.3f}",
    }
    text = table(["", encoder], rows.items())
    write_text(output, f"# The published job at its own size\n\n{text}\n")
    msg.good(f"{output}\n{text}")


def write_recipe(target: Path, records: int, epochs: int) -> Path:
    """The default recipe, in batches of so many records and for so many epochs."""
    config = load_config("configs/lora.cfg", interpolate=False)
    steps = epochs * -(-records // BATCH)
    batcher = {"@batchers": "spacy.batch_by_sequence.v1", "size": BATCH, "get_length": None}
    config["training"]["batcher"] = batcher
    config["training"] |= {"max_epochs": epochs, "max_steps": 0, "eval_frequency": steps}
    config["training"]["optimizer"]["learn_rate"] |= {"total_steps": steps, "warmup_steps": 20}
    target.parent.mkdir(parents=True, exist_ok=True)
    config.to_disk(target, interpolate=False)
    return target


def draws(pipeline: Path) -> list[float]:
    """F1 of a pipeline on ever other ten texts of the development set, in order."""
    nlp = spacy.load(pipeline)
    references = [doc for doc in DocBin().from_disk(DEV).get_docs(nlp.vocab) if doc.ents]
    predicted = nlp.pipe(doc.text for doc in references)
    pairs = [
        ({key(e) for e in found.ents}, {key(e) for e in reference.ents})
        for found, reference in zip(predicted, references, strict=True)
    ]
    rng = random.Random(0)
    return sorted(score_spans(rng.sample(pairs, SENTENCES))["all"].f1 for _ in range(DRAWS))


if __name__ == "__main__":
    typer.run(main)
