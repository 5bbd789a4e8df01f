"""Annotations in and out: Prodigy JSONL, inline markup, CoNLL/IOB, spaCy's JSON, DocBin."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import srsly
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Token
from spacy.training.converters import conll_ner_to_docs, iob_to_docs, json_to_docs
from spacy.vocab import Vocab

from .annotations import (
    AnnotationError,
    Record,
    make_doc,
    read_jsonl,
    record_from_doc,
    record_from_json,
    to_prodigy,
)
from .files import write_bytes
from .markup import parse, render


def read(path: Path) -> list[Record]:
    """Read annotations in any known format, told by the file's ending.

    path: .jsonl (Prodigy or spaCy), .txt (a record a line, inline markup; the file's name is that
        of the document), .json (a list of `Doc.to_json`, or spaCy 2's training format), .iob or
        .conll, .spacy.
    Raises AnnotationError where the ending is unknown, the file is missing or cannot be read.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        raise AnnotationError(f"{path}: unknown ending, known are {', '.join(READERS)}.")
    if not path.is_file():
        raise AnnotationError(f"{path}: there is no such file.")
    try:
        return reader(path)
    except UnicodeDecodeError as error:  # of the readers that do not say it themselves
        raise AnnotationError(f"{path}: no UTF-8 text ({error.reason}).") from None


def write(path: Path, records: Sequence[Record], nlp: Language) -> None:
    """Write annotations in the format that the file's ending tells; all or nothing.

    path: as in `read`; folders are made.
    records: what to write. Only a .jsonl keeps rejected and ignored ones.
    nlp: gives the tokenizer.
    Raises AnnotationError where the ending is unknown or a span does not fall on its tokens.
    """
    writer = WRITERS.get(path.suffix)
    if writer is None:
        raise AnnotationError(f"{path}: unknown ending, known are {', '.join(WRITERS)}.")
    data = writer(records, nlp)
    write_bytes(path, data)


def accepted(records: Iterable[Record], nlp: Language) -> list[Doc]:
    """Docs of the accepted records.

    records: any records.
    nlp: gives the tokenizer.
    Raises AnnotationError where a span does not fall on token boundaries.
    """
    return [make_doc(record, nlp) for record in records if record.answer == "accept"]


def _read_markup(path: Path) -> list[Record]:
    lines = path.read_text("utf8").split("\n")
    records = [parse(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]
    for record in records:
        record.meta = {"document": path.stem}
    return records


def _read_json(path: Path) -> list[Record]:
    try:
        values = srsly.json_loads(path.read_text("utf8"))
    except ValueError as error:
        raise AnnotationError(f"{path}: no JSON ({error}).") from None
    values = values if isinstance(values, list) else [values]
    if values and isinstance(values[0], dict) and "paragraphs" in values[0]:  # spaCy 2
        docs = json_to_docs(srsly.json_dumps(values))
        return [record_from_doc(doc, f"{path}, doc {i}") for i, doc in enumerate(docs, 1)]
    return [record_from_json(value, f"{path}[{i}]") for i, value in enumerate(values)]


def _read_tagged(path: Path) -> list[Record]:
    text = path.read_text("utf8")
    # One sentence a line, "word|tag word|tag", or one word a line, "word tag".
    first = next((line.split() for line in text.splitlines() if line.strip()), [])
    convert = iob_to_docs if all("|" in word for word in first) else conll_ner_to_docs
    try:
        docs = list(convert(text, no_print=True, n_sents=1))
    except (ValueError, KeyError, IndexError) as error:
        raise AnnotationError(f"{path}: no CoNLL or IOB file ({error}).") from None
    records = []
    for i, doc in enumerate(docs, 1):
        # Tags know no blanks: words are put together by single ones.
        record = record_from_doc(doc, f"{path}, sentence {i}")
        record.text = record.text.rstrip()
        if record.text:
            records.append(record)
    return records


def _read_docbin(path: Path) -> list[Record]:
    vocabulary = Vocab()
    try:
        docs = list(DocBin().from_disk(path).get_docs(vocabulary))
    except Exception as error:  # zlib and msgpack raise what they like
        raise AnnotationError(f"{path}: no DocBin ({error}).") from None
    return [record_from_doc(doc, f"{path}, doc {i}") for i, doc in enumerate(docs, 1)]


def _to_jsonl(records: Iterable[Record], nlp: Language) -> bytes:
    lines = (srsly.json_dumps(to_prodigy(record, nlp)) for record in records)
    return "".join(f"{line}\n" for line in lines).encode("utf8")


def _to_markup(records: Iterable[Record], nlp: Language) -> bytes:
    lines = (render(record) for record in records if record.answer == "accept")
    return "".join(f"{line}\n" for line in lines).encode("utf8")


def _to_json(records: Iterable[Record], nlp: Language) -> bytes:
    text: str = srsly.json_dumps([doc.to_json() for doc in accepted(records, nlp)], indent=1)
    return text.encode("utf8")


def _to_conll(records: Iterable[Record], nlp: Language) -> bytes:
    sentences = [
        "\n".join(f"{t.text} {_tag(t)}" for t in doc if not t.is_space)
        for doc in accepted(records, nlp)
    ]
    return ("\n\n".join(sentences) + "\n").encode("utf8")


def _tag(token: Token) -> str:
    return f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type_ else "O"


def _to_docbin(records: Iterable[Record], nlp: Language) -> bytes:
    data: bytes = DocBin(docs=accepted(records, nlp), store_user_data=True).to_bytes()
    return data


READERS: dict[str, Callable[[Path], list[Record]]] = {
    ".jsonl": read_jsonl,
    ".txt": _read_markup,
    ".json": _read_json,
    ".iob": _read_tagged,
    ".conll": _read_tagged,
    ".spacy": _read_docbin,
}
WRITERS: dict[str, Callable[[Iterable[Record], Language], bytes]] = {
    ".jsonl": _to_jsonl,
    ".txt": _to_markup,
    ".json": _to_json,
    ".conll": _to_conll,
    ".iob": _to_conll,
    ".spacy": _to_docbin,
}
