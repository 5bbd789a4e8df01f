"""Entities as pages: HTML by displaCy, and coloured text for terminals."""

from collections.abc import Iterable, Sequence
from html import escape

from rich.text import Text
from spacy import displacy
from spacy.tokens import Doc

# Okabe and Ito's palette and tints of it: told apart with colour-blind eyes and in print.
COLORS = {
    "MATERIAL": "#e6c79c",
    "MEASURE": "#56b4e9",
    "INSTALLATION": "#9fd8c2",
    "SPECIFICATION": "#f0e442",
    "STANDARD": "#cc79a7",
    "LOCATION": "#e69f00",
    "EQUIPMENT": "#b7c9e2",
    "SECTION": "#d9b3d0",
    "GRADE": "#c5c5c5",
    "ZONE": "#f4a582",
    "TEST": "#8fd175",
}
DEFAULT_COLOR = "#dddddd"
STYLE = """
body { font: 16px/1.6 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: .8rem; color: #555; margin: 1.2rem 0 0; font-weight: 600 }
.entities { line-height: 2.2; border-bottom: 1px solid #e5e5e5; padding-bottom: .6rem }
.lead { color: #555 }
mark.entity { -webkit-box-decoration-break: clone; box-decoration-break: clone }
"""


def render(docs: Iterable[Doc], title: str, lead: str = "") -> str:
    """A whole HTML page with the entities of documents marked in their text.

    docs: documents; an empty one shows its text alone.
    title: the page's heading.
    lead: a line under it.
    """
    body = "\n".join(_fragment(doc, "") for doc in docs)
    return _page(title, lead, body)


def render_differences(pairs: Sequence[tuple[Doc, Doc]], title: str) -> str:
    """A page of every document in which the entities differ from the gold ones.

    pairs: predicted and gold Docs of the same texts.
    title: the page's heading.
    """
    wrong = [
        (predicted, gold)
        for predicted, gold in pairs
        if {(e.start_char, e.end_char, e.label_) for e in predicted.ents}
        != {(e.start_char, e.end_char, e.label_) for e in gold.ents}
    ]
    body = "\n".join(
        _fragment(gold, "gold") + _fragment(predicted, "read") for predicted, gold in wrong
    )
    lead = f"{len(wrong)} of {len(pairs)} texts differ; above each the gold entities, below ours."
    return _page(title, lead, body)


def _fragment(doc: Doc, heading: str) -> str:
    entities = [{"start": e.start_char, "end": e.end_char, "label": e.label_} for e in doc.ents]
    data = {"text": doc.text, "ents": entities}
    html = displacy.render(
        data, style="ent", manual=True, jupyter=False, options={"colors": COLORS}
    )
    return (f"<h2>{heading}</h2>" if heading else "") + html


def _page(title: str, lead: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="lead">{escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )


def colored(doc: Doc) -> Text:
    """The text for a terminal, entities on the colour of their label, the label behind each.

    doc: an analysed document.
    """
    text = Text()
    position = 0
    for entity in doc.ents:
        color = COLORS.get(entity.label_, DEFAULT_COLOR)
        text.append(doc.text[position : entity.start_char])
        text.append(entity.text, style=f"black on {color}")
        text.append(f" {entity.label_}", style=f"bold {color}")
        position = entity.end_char
    text.append(doc.text[position:])
    return text
