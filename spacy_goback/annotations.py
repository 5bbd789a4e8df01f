"""Annotated records: one text with its spans, as Prodigy writes them, and their faults."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from spacy.tokens import Doc

LABELS = (
    "MATERIAL",
    "MEASURE",
    "INSTALLATION",
    "SPECIFICATION",
    "STANDARD",
    "LOCATION",
    "EQUIPMENT",
    "SECTION",
    "GRADE",
    "ZONE",
    "TEST",
)
# A stretch of text and its label, "" between entities: what edits change, offsets following.
Piece = tuple[str, str]
ANSWERS = ("accept", "reject", "ignore")


class AnnotationError(ValueError):
    """A record that cannot be used; the message says file, line and reason."""


@dataclass(frozen=True, order=True)
class Entity:
    """A labelled stretch of text, in characters."""

    start: int
    end: int
    label: str


@dataclass
class Record:
    """One annotated text and where it came from."""

    text: str
    entities: list[Entity]
    answer: str = "accept"
    meta: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, int] = field(default_factory=dict)
    where: str = "record"

    @property
    def document(self) -> str | None:
        """The document that the text is part of: the unit by which splits are made."""
        return self.meta.get("document")


def record_from_json(value: Any, where: str) -> Record:
    """Read Prodigy's JSON, `Doc.to_json`, or spaCy's `{"text", "entities"}`.

    value: one parsed line.
    where: file and line, for messages.
    Raises AnnotationError where it is none of these.
    """
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise AnnotationError(f'{where}: no JSON object with a "text".')
    kinds = (value.get(key) for key in ("spans", "ents", "entities"))
    spans: list[Any] = next((spans for spans in kinds if isinstance(spans, list) and spans), [])
    try:
        entities = [_entity(span) for span in spans]
    except (TypeError, KeyError, ValueError):
        raise AnnotationError(
            f"{where}: a span needs start, end and label, all given as in Prodigy or spaCy."
        ) from None
    meta = value.get("meta") or {}
    answer = value.get("answer", "accept")
    if not isinstance(meta, dict):
        raise AnnotationError(f'{where}: "meta" is no JSON object.')
    if answer not in ANSWERS:
        raise AnnotationError(f"{where}: answer {answer!r} is none of {', '.join(ANSWERS)}.")
    hashes = {key: value[key] for key in ("_input_hash", "_task_hash") if key in value}
    record = Record(value["text"], sorted(entities), answer, meta, hashes, where)
    _require_agreement(record, value.get("tokens"), spans)
    return record


def _entity(span: Any) -> Entity:
    start, end, label = (
        (span["start"], span["end"], span["label"]) if isinstance(span, dict) else span
    )
    if not isinstance(label, str):
        raise TypeError
    return Entity(int(start), int(end), label)


def _require_agreement(record: Record, tokens: Any, spans: list[Any]) -> None:
    """Tokens are not used, but where they contradict the characters one of them is wrong."""
    places = {}
    for token in tokens if isinstance(tokens, list) else ():
        if "text" in token and record.text[token["start"] : token["end"]] != token["text"]:
            raise AnnotationError(
                f"{record.where}: token {token['text']!r} is not at {token['start']}-"
                f"{token['end']} of the text."
            )
        places[token["id"]] = token
    for span in spans:
        if places and isinstance(span, dict) and "token_start" in span:
            first, last = places.get(span["token_start"]), places.get(span["token_end"])
            if not (
                first and last and (first["start"], last["end"]) == (span["start"], span["end"])
            ):
                raise AnnotationError(
                    f"{record.where}: span {span['start']}-{span['end']} {span['label']} is not "
                    f"that of its tokens {span['token_start']}-{span['token_end']}."
                )


def read_jsonl(path: Path) -> list[Record]:
    """Read a file of records, one JSON object a line.

    path: the file.
    Raises AnnotationError with file and line where a line is no record.
    """
    records = []
    try:
        lines = path.read_text("utf8").split("\n")
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: no UTF-8 text ({error.reason}).") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = srsly.json_loads(line)
        except ValueError as error:
            raise AnnotationError(f"{where}: no JSON ({error}).") from None
        records.append(record_from_json(value, where))
    return records


def problems(record: Record, nlp: Language, labels: Iterable[str] = LABELS) -> Iterator[str]:
    """Everything wrong with one record, each as file, line and reason.

    record: the record.
    nlp: gives the tokenizer that must be able to express the spans.
    labels: the labels that are known.
    """
    if not record.text.strip():
        yield f"{record.where}: the text is empty."
    doc = nlp.make_doc(record.text)
    end = 0
    for entity in record.entities:
        name = f"span {entity.start}-{entity.end} {entity.label}"
        if not 0 <= entity.start < entity.end <= len(record.text):
            yield f"{record.where}: {name} lies outside the text of {len(record.text)} characters."
            continue
        surface = record.text[entity.start : entity.end]
        if entity.label not in labels:
            yield f"{record.where}: {name} {surface!r} has an unknown label."
        if surface != surface.strip():
            yield f"{record.where}: {name} {surface!r} begins or ends with a blank."
        elif doc.char_span(entity.start, entity.end) is None:
            yield f"{record.where}: {name} {surface!r} cuts a token in two."
        if entity.start < end:
            yield f"{record.where}: {name} {surface!r} overlaps the span before it."
        end = max(end, entity.end)


def pieces(record: Record) -> list[Piece]:
    """Cut a record's text at the bounds of its entities.

    record: entities in order, none overlapping.
    """
    found, end = [], 0
    for entity in sorted(record.entities):
        found += [(record.text[end : entity.start], "")]
        found += [(record.text[entity.start : entity.end], entity.label)]
        end = entity.end
    return [piece for piece in [*found, (record.text[end:], "")] if piece[0]]


def join(parts: Sequence[Piece]) -> Record:
    """Put pieces together again, with the offsets that they now have.

    parts: as `pieces` gives them, edited or not.
    """
    text, entities = "", []
    for part, label in parts:
        if label:
            entities.append(Entity(len(text), len(text) + len(part), label))
        text += part
    return Record(text, entities)


def make_doc(record: Record, nlp: Language) -> Doc:
    """A Doc with the record's entities; every other token is marked as outside any.

    record: the record; character offsets are the truth, tokens are made anew.
    nlp: gives the tokenizer.
    Raises AnnotationError where a span does not fall on token boundaries, or overlaps.
    """
    doc = nlp.make_doc(record.text)
    spans = []
    for entity in record.entities:
        span = doc.char_span(entity.start, entity.end, label=entity.label)
        if span is None:
            surface = record.text[entity.start : entity.end]
            raise AnnotationError(f"{record.where}: {surface!r} does not fall on token boundaries.")
        spans.append(span)
    try:
        doc.set_ents(spans)
    except ValueError:
        raise AnnotationError(f"{record.where}: spans overlap.") from None
    doc.user_data["record"] = {"meta": record.meta, "hashes": record.hashes}
    return doc


def record_from_doc(doc: Doc, where: str = "document") -> Record:
    """The record that a Doc's entities make, with what `make_doc` kept of the old one.

    doc: an annotated or predicted Doc.
    where: for messages.
    """
    kept = doc.user_data.get("record", {})
    entities = [Entity(e.start_char, e.end_char, e.label_) for e in doc.ents]
    meta, hashes = kept.get("meta", {}), kept.get("hashes", {})
    return Record(doc.text, entities, "accept", meta, hashes, where)


def to_prodigy(record: Record, nlp: Language) -> dict[str, Any]:
    """The record as Prodigy reads it, tokens included.

    record: the record.
    nlp: gives the tokenizer.
    """
    doc = nlp.make_doc(record.text)
    tokens = [
        {
            "text": token.text,
            "start": token.idx,
            "end": token.idx + len(token),
            "id": token.i,
            "ws": bool(token.whitespace_),
        }
        for token in doc
    ]
    spans = []
    for entity in record.entities:
        span = doc.char_span(entity.start, entity.end)
        place: dict[str, Any] = {"start": entity.start, "end": entity.end}
        if span is not None:
            place |= {"token_start": span.start, "token_end": span.end - 1}
        spans.append({**place, "label": entity.label})
    return {
        "text": record.text,
        **record.hashes,
        "tokens": tokens,
        "spans": spans,
        "answer": record.answer,
        "meta": record.meta,
    }
