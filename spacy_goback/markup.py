"""Inline markup, the form in which people write annotations: `[[18 ft|MEASURE]] over street`."""

import re

from .annotations import AnnotationError, Entity, Record

SPAN = re.compile(r"\[\[((?:(?!\[\[|\]\]|\|).)+)\|([^\[\]|\s]+)\]\]")


def parse(line: str, where: str = "markup") -> Record:
    """Read one line of markup.

    line: text in which every entity stands as `[[text|LABEL]]`.
    where: file and line, for messages.
    Raises AnnotationError where a bracket is left that opens or closes no entity.
    """
    text, end, entities = "", 0, []
    for match in SPAN.finditer(line):
        text += line[end : match.start()]
        entities.append(Entity(len(text), len(text) + len(match[1]), match[2]))
        text += match[1]
        end = match.end()
    text += line[end:]
    if "[[" in text or "]]" in text:
        raise AnnotationError(f"{where}: [[ or ]] is left over; write [[text|LABEL]].")
    return Record(text, entities, where=where)


def render(record: Record) -> str:
    """The record as a line of markup, the inverse of `parse`.

    record: a record whose text is one line.
    Raises AnnotationError where the text cannot be told from markup, or spans overlap.
    """
    line, end = "", 0
    for entity in sorted(record.entities):
        if entity.start < end:
            raise AnnotationError(f"{record.where}: spans overlap.")
        line += record.text[end : entity.start]
        line += f"[[{record.text[entity.start : entity.end]}|{entity.label}]]"
        end = entity.end
    line += record.text[end:]
    if "\n" in line or parse(line).text != record.text:
        raise AnnotationError(f"{record.where}: a text with line breaks or [[ ]] has no markup.")
    return line
