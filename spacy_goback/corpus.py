"""What a corpus as a whole must be: no leak between splits, no template, labels well spread."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from .annotations import Record, pieces

# Share of three-word runs in common at which two texts count as one.
NEAR = 0.7
# How often a sentence may recur with other entities and figures put in.
FRAME_LIMIT = 3
# Largest share of a label's spans that one wording may have.
WORDING_LIMIT = 1 / 3


def split_problems(splits: dict[str, list[Record]]) -> Iterator[str]:
    """Everything that leaks between splits: a document on two sides, a text (nearly) repeated.

    splits: records by the name of their split.
    """
    homes: dict[str, str] = {}
    texts: dict[str, tuple[str, Record]] = {}
    index: dict[str, list[tuple[str, Record, set[str]]]] = defaultdict(list)
    for split, records in splits.items():
        for record in records:
            home = homes.setdefault(record.document or record.where, split)
            if home != split:
                yield f"{record.where}: document {record.document!r} is also in {home}."
            twin_split, twin = texts.setdefault(_normal(record.text), (split, record))
            if twin_split != split:
                yield f"{record.where}: the same text as {twin.where}."
                continue
            runs = _runs(record.text)
            for other_split, other, other_runs in _candidates(runs, index):
                share = len(runs & other_runs) / len(runs | other_runs)
                if other_split != split and share >= NEAR:
                    yield f"{record.where}: nearly the same text as {other.where} ({share:.0%})."
            for run in runs:
                index[run].append((split, record, runs))


def frame(record: Record) -> str:
    """The record's sentence with labels in place of its entities, and figures as zeros.

    record: the record.
    """
    return _normal("".join(f" {label} " if label else text for text, label in pieces(record)))


def frame_problems(records: Iterable[Record]) -> Iterator[str]:
    """Every record whose frame has occurred `FRAME_LIMIT` times before: a template.

    records: those of all splits.
    """
    seen: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        homes = seen[frame(record)]
        homes.append(record)
        if len(homes) > FRAME_LIMIT:
            yield f"{record.where}: the same frame as {homes[0].where}, {len(homes)} times now."


def wordings(records: Iterable[Record]) -> dict[str, Counter[str]]:
    """How often each label has which wording, in small letters.

    records: any records.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for entity in record.entities:
            found[entity.label][record.text[entity.start : entity.end].lower()] += 1
    return dict(found)


def wording_problems(splits: Mapping[str, list[Record]]) -> Iterator[str]:
    """Every label of which one wording holds more than `WORDING_LIMIT` of the spans.

    splits: records by the name of their split.
    """
    for split, records in splits.items():
        for label, counts in wordings(records).items():
            wording, count = counts.most_common(1)[0]
            if count > 1 and count > WORDING_LIMIT * counts.total():
                yield f"{split}: {count} of {counts.total()} {label} spans are {wording!r}."


def _candidates(
    runs: set[str], index: dict[str, list[tuple[str, Record, set[str]]]]
) -> Iterator[tuple[str, Record, set[str]]]:
    seen: set[int] = set()
    for run in runs:
        for entry in index.get(run, ()):
            if id(entry[1]) not in seen:
                seen.add(id(entry[1]))
                yield entry


def _normal(text: str) -> str:
    # Numbers count as equal: a sentence that differs only in its figures is the same sentence.
    return " ".join(re.sub(r"\d+", "0", re.sub(r"[^\w\s]", " ", text.lower())).split())


def _runs(text: str) -> set[str]:
    words = _normal(text).split()
    if len(words) < 3:
        return {" ".join(words)}
    return {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}
