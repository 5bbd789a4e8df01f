"""What each family of patterns adds to the model, on the development set."""

from pathlib import Path

import spacy
import typer
from rich.console import Console
from rich.markdown import Markdown
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_goback.cli import write_text
from spacy_goback.markdown import table
from spacy_goback.metrics import score

RULER = "entity_ruler"


def main(model: Path, gold: Path, output: Path = Path("metrics/patterns.md")) -> None:
    """Take away one family after another, then all; print the change of F1."""
    nlp = spacy.load(model)
    references = list(DocBin().from_disk(gold).get_docs(nlp.vocab))
    ruler = nlp.get_pipe(RULER)
    patterns = list(ruler.patterns)  # type: ignore[attr-defined]
    families = sorted({pattern["id"] for pattern in patterns})
    with nlp.select_pipes(disable=[RULER]):
        plain = list(nlp.pipe(doc.text for doc in references))
    everything = f1(nlp, plain, references, patterns)
    rows = [["all families", f"{everything:.4f}", "", ""], alone(nlp, plain, references, [])]
    for family in families:
        rest = [p for p in patterns if p["id"] != family]
        own = [p for p in patterns if p["id"] == family]
        without = f1(nlp, plain, references, rest)
        only = f1(nlp, plain, references, own)
        rows.append(
            [f"without {family}", f"{without:.4f}", f"{everything - without:+.4f}", f"{only:.4f}"]
        )
    text = table(["", "F1", "the family adds", "F1 with it alone"], rows)
    write_text(output, f"# Families of patterns on {gold.stem}\n\n{text}\n")
    Console().print(Markdown(text))


def alone(
    nlp: Language, plain: list[Doc], references: list[Doc], patterns: list[dict[str, object]]
) -> list[str]:
    """The row of the model without a ruler."""
    return ["no ruler", f"{f1(nlp, plain, references, patterns):.4f}", "", ""]


def f1(
    nlp: Language, plain: list[Doc], references: list[Doc], patterns: list[dict[str, object]]
) -> float:
    """F1 of the model's entities after a ruler with these patterns."""
    if not patterns:
        return score(list(zip(plain, references, strict=True)))["all"].f1
    ruler = nlp.get_pipe(RULER)
    ruler.clear()  # type: ignore[attr-defined]
    ruler.add_patterns(patterns)  # type: ignore[attr-defined]
    policy = nlp.get_pipe("entity_policy")
    copies = (Doc(nlp.vocab).from_bytes(doc.to_bytes()) for doc in plain)
    docs = [policy(ruler(doc)) for doc in copies]
    return score(list(zip(docs, references, strict=True)))["all"].f1


if __name__ == "__main__":
    typer.run(main)
