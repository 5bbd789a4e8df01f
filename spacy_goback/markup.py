"""Inline markup, the form in which people write annotations: `[[18 ft|MEASURE]] over street`."""

import re

from .annotations import AnnotationError, Record, join, pieces

SPAN = re.compile(r"\[\[((?:(?!\[\[|\]\]|\|).)+)\|([^\[\]|\s]+)\]\]")


def parse(line: str, where: str = "markup") -> Record:
    """Read one line of markup.

    line: text in which every entity stands as `[[text|LABEL]]`.
    where: file and line, for messages.
    Raises AnnotationError where a bracket is left that opens or closes no entity.
    """
    parts, end = [], 0
    for match in SPAN.finditer(line):
        parts += [(line[end : match.start()], ""), (match[1], match[2])]
        end = match.end()
    record = join([*parts, (line[end:], "")])
    if "[[" in record.text or "]]" in record.text:
        raise AnnotationError(f"{where}: [[ or ]] is left over; write [[text|LABEL]].")
    record.where = where
    return record


def render(record: Record) -> str:
    """The record as a line of markup, the inverse of `parse`.

    record: a record whose text is one line.
    Raises AnnotationError where the text cannot be told from markup, or spans overlap.
    """
    line = "".join(f"[[{text}|{label}]]" if label else text for text, label in pieces(record))
    again = parse(line, record.where)
    if "\n" in line or (again.text, again.entities) != (record.text, sorted(record.entities)):
        raise AnnotationError(
            f"{record.where}: a text with line breaks or [[ ]], or with spans that overlap, has no "
            "markup."
        )
    return line
