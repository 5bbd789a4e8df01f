"""Write the tables of docs/corpus.md: sizes, labels, kinds, words, agreement of the readers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import srsly
import typer
from wasabi import msg

from spacy_goback.annotations import LABELS, AnnotationError, Record, read_jsonl
from spacy_goback.cli import fail, write_text
from spacy_goback.confidence import Key
from spacy_goback.corpus import wordings
from spacy_goback.markdown import table
from spacy_goback.metrics import Score, score_spans
from spacy_goback.tokenizer import blank

SPLITS = ("train", "dev", "test")
READERS = ("a", "b", "author")
START, END = "<!-- tables: written by scripts/describe_corpus.py -->", "<!-- end of tables -->"
Rows = list[list[object]]


def main(
    folder: Path = Path("assets/annotations"),
    page: Annotated[Path, typer.Option(help="The page to bring up to date")] = Path(
        "docs/corpus.md"
    ),
) -> None:
    """Count, and put the tables between their marks on the page."""
    try:
        splits = {split: read_jsonl(folder / f"{split}.jsonl") for split in SPLITS}
        readings = {
            split: [read_jsonl(folder / "readings" / f"{split}-{who}.jsonl") for who in READERS]
            for split in SPLITS[1:]
        }
    except AnnotationError as error:
        fail(error)
    topics = {d["document"]: d["topic"] for d in srsly.read_jsonl(folder / "documents.jsonl")}
    parts = (
        ("Size", size_table(splits)),
        ("Entities by label", label_table(splits)),
        ("Records by kind", kind_table(splits, lambda record: record.meta["source"])),
        ("Records by topic", kind_table(splits, lambda record: topics[record.document])),
        ("Agreement of two blind readers, before adjudication", agreement_table(readings)),
    )
    text = "\n\n".join(f"### {title}\n\n{part}" for title, part in parts)
    old = page.read_text("utf8")
    if START not in old or END not in old:
        fail(f"{page}: the marks {START} and {END} are missing; put them where the tables go.")
    before, after = old.partition(START)[0], old.partition(END)[2]
    write_text(page, f"{before}{START}\n\n{text}\n\n{END}{after}")
    msg.good(f"{page}: {sum(map(len, splits.values()))} records described")


def size_table(splits: dict[str, list[Record]]) -> str:
    """Documents, records, tokens, lengths and words, a column a split."""
    nlp = blank()
    texts = {s: [nlp.make_doc(r.text) for r in records] for s, records in splits.items()}
    words = {
        s: Counter(t.lower_ for doc in docs for t in doc if t.is_alpha) for s, docs in texts.items()
    }
    everything = [r for records in splits.values() for r in records]
    columns = {**splits, "all": everything}
    docs = {**texts, "all": [doc for split in texts.values() for doc in split]}
    vocabulary = {**words, "all": sum(words.values(), Counter())}
    known = words["train"].keys()
    rows: Rows = [["", *columns]]
    rows.append(["documents", *(len({r.document for r in c}) for c in columns.values())])
    rows.append(["records", *map(len, columns.values())])
    rows.append(["tokens", *(sum(map(len, docs[c])) for c in columns)])
    rows.append(["tokens a record, median", *(f"{median(map(len, docs[c])):.0f}" for c in columns)])
    rows.append(["tokens a record, longest", *(max(map(len, docs[c])) for c in columns)])
    rows.append(["entities", *(sum(len(r.entities) for r in c) for c in columns.values())])
    empty = (sum(not r.entities for r in c) / len(c) for c in columns.values())
    rows.append(["records without entity", *(f"{share:.1%}" for share in empty)])
    far = (sum(r.meta["source"] == "off-domain" for r in c) / len(c) for c in columns.values())
    rows.append(["off-domain records", *(f"{share:.1%}" for share in far)])
    rows.append(["different words", *(len(vocabulary[c]) for c in columns)])
    unseen = (f"{sum(w not in known for w in v) / len(v):.0%}" for v in vocabulary.values())
    rows.append(["of these not in train", *unseen])
    return table(rows[0], rows[1:])


def label_table(splits: dict[str, list[Record]]) -> str:
    """Spans of each label, different wordings, and the commonest with its share."""
    counts = {s: Counter(e.label for r in rs for e in r.entities) for s, rs in splits.items()}
    found = wordings(r for records in splits.values() for r in records)
    rows: Rows = [["label", *splits, "wordings", "commonest", "its share"]]
    for label in LABELS:
        wording, top = found[label].most_common(1)[0]
        share = f"{top / found[label].total():.1%}"
        spans = (counts[split][label] for split in splits)
        rows.append([label, *spans, len(found[label]), f"`{wording}`", share])
    return table(rows[0], rows[1:], left=(0, 5))


def kind_table(splits: dict[str, list[Record]], kind: Callable[[Record], str]) -> str:
    """Records of each kind, a column a split."""
    counts = {split: Counter(kind(r) for r in records) for split, records in splits.items()}
    kinds = sorted(set().union(*counts.values()))
    rows: Rows = [["", *splits], *([name, *(c[name] for c in counts.values())] for name in kinds)]
    return table(rows[0], rows[1:])


def agreement_table(readings: dict[str, list[list[Record]]]) -> str:
    """Exact-match F1 between the readers by label and split, and of each with the author."""
    scores = {split: agreement(first, second) for split, (first, second, _) in readings.items()}
    first, second, author = (
        [r for readers in readings.values() for r in readers[i]] for i in range(len(READERS))
    )
    scores["both"] = agreement(first, second)
    scores["A and author"], scores["B and author"] = (
        agreement(reader, author) for reader in (first, second)
    )
    rows: Rows = [["label", *scores, "spans of A", "spans of B"]]
    for label in ("all", *LABELS):
        cells = (f"{scores[split].get(label, Score(0, 0, 0)).f1:.3f}" for split in scores)
        total = scores["both"][label]
        rows.append([label, *cells, total.found, total.gold])
    return table(rows[0], rows[1:])


def agreement(first: list[Record], second: list[Record]) -> dict[str, Score]:
    """Scores of one reader's spans against the other's; F1 does not care which."""
    if [r.text for r in first] != [r.text for r in second]:
        fail("The two readings are not of the same texts.")
    return score_spans((spans(a), spans(b)) for a, b in zip(first, second, strict=True))


def spans(record: Record) -> set[Key]:
    """A record's entities as scores compare them."""
    return {(e.start, e.end, e.label) for e in record.entities}


if __name__ == "__main__":
    typer.run(main)
