"""Write the noisy twin of a DocBin: the same entities in texts as the field would type them."""

import random
from pathlib import Path

import typer
from spacy.tokens import DocBin
from spacy.training import Example
from wasabi import msg

from spacy_goback.augmenter import field_noise
from spacy_goback.cli import fail
from spacy_goback.files import write_bytes
from spacy_goback.tokenizer import blank


def main(source: Path, target: Path, seed: int = 0) -> None:
    """Noise every text, with its own entities: swapping is left to training."""
    if not source.is_file():
        fail(f"{source}: there is no such file; run the step `convert` first.")
    nlp = blank()
    random.seed(seed)
    augment = field_noise(level=1.0, kinds={"swap": 0.0})
    noisy = DocBin(store_user_data=True)
    changed = 0
    docs = list(DocBin().from_disk(source).get_docs(nlp.vocab))
    for doc in docs:
        for example in augment(nlp, Example(nlp.make_doc(doc.text), doc)):
            noisy.add(example.reference)
            changed += example.reference.text != doc.text
    write_bytes(target, noisy.to_bytes())
    msg.good(f"{target}: {changed} of {len(docs)} texts changed")


if __name__ == "__main__":
    typer.run(main)
