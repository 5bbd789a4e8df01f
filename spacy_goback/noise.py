"""What field notes look like: edits of a text's pieces, which carry its entities along exactly."""

import random
import re
from collections.abc import Callable

from .annotations import Piece

Edit = Callable[[str, str, random.Random], str]

ABBREVIATIONS = {
    "and": "& +",
    "approximately": "approx approx. ~",
    "at": "@",
    "between": "btwn betw.",
    "clearance": "clr clnc clearence",
    "communication": "comm",
    "conductor": "cond condr",
    "conductors": "conds cond.",
    "crossarm": "x-arm xarm arm",
    "exceeds": ">",
    "existing": "exist ext",
    "grounded": "gnd'd",
    "horizontal": "horiz",
    "inspection": "insp",
    "installed": "inst inst'd instld",
    "insulator": "insul ins",
    "insulators": "insuls ins.",
    "location": "loc",
    "maximum": "max max.",
    "minimum": "min min.",
    "neutral": "neut",
    "overhead": "OH",
    "primary": "pri prim",
    "property line": "P/L",
    "railroad": "RR",
    "replaced": "repl repl'd",
    "required": "req'd reqd req",
    "right of way": "ROW R/W",
    "secondary": "sec secy",
    "service": "svc serv",
    "should be": "s/b",
    "sidewalk": "s/w sidewlk",
    "street": "st",
    "temperature": "temp",
    "transformer": "XFMR xfmr TX trans",
    "transformers": "XFMRs xfmrs",
    "underground": "UG U/G",
    "vertical": "vert",
    "with": "w/",
    "without": "w/o",
}
ABBREVIATED = re.compile(rf"(?<![\w-])({'|'.join(ABBREVIATIONS)})(?![\w-])", re.IGNORECASE)
# Spellings of one unit; a leading blank separates it from its number.
UNITS = (
    ("'", " ft", " feet", " FT", "ft", " ft."),
    ('"', " in", " inches", " IN", "in", " in."),
    (" kV", "kV", " KV", "kv", " kilovolts"),
    (" V", "V", " volts", "v", " VOLTS"),
    ("%", " %", " percent", " per cent", " pct"),
    (" lb", " lbs", "lb", " pounds", " LBS"),
    (" ohms", " Ω", "Ω", " ohm", " OHMS"),
    (" °F", "°F", " deg F", " F", " degrees F"),
    (" kcmil", " MCM", "kcmil", " mcm"),
    (" ft-lb", " ft-lbs", " foot-pounds", " lb-ft"),
    (" kVA", "kVA", " KVA", "kva"),
    (" A", "A", " amps", " amp"),
)
SPELLINGS = {unit.strip(): group for group in UNITS for unit in group}
UNIT = re.compile(
    r"(?<=\d)\s?("
    + "|".join(re.escape(unit) for unit in sorted(SPELLINGS, key=len, reverse=True))
    + r")(?![\w'\"-])"
)
FEET_AND_INCHES = re.compile(r"(\d)\s?(?:'|ft\.?|feet)[\s-]?\s?(\d[\d /-]*)(?:\"|in\.|in\b|inches)")
NUMBER = re.compile(r"(?<![\w.,/#-])\d{1,3}(?:,\d{3})*(?:\.\d+)?(?![\w,/-]|\.\d)")
WIRE = re.compile(r"(?<=#)\d{1,2}\b|\b[1-4]/0\b")
WIRES = ("1", "2", "4", "6", "8"), ("1/0", "2/0", "3/0", "4/0")
# A neighbour of each key.
KEYS = dict(zip("abcdefghijklmnopqrstuvwxyz", "svfsrghjkklknmpowtdyibecux", strict=True))
SLIPS = (
    ("rn", "m"),
    ("m", "rn"),
    ("cl", "d"),
    ("l", "1"),
    ("O", "0"),
    ("0", "O"),
    ("1", "l"),
    ("S", "5"),
    ("ii", "u"),
    ("vv", "w"),
)


def abbreviate(text: str, label: str, rng: random.Random) -> str:
    """Shorten trade words: "transformer with required" to "XFMR w/ req'd"."""

    def short(match: re.Match[str]) -> str:
        if rng.random() < 0.4:
            return match[0]
        choice = rng.choice(ABBREVIATIONS[match[0].lower()].split())
        return choice.upper() if match[0].isupper() else choice

    return ABBREVIATED.sub(short, text)


def mistype(text: str, label: str, rng: random.Random) -> str:
    """Slip on the keyboard in one word of twelve: swapped, lost, doubled or neighbouring keys."""

    def slip(match: re.Match[str]) -> str:
        word = match[0]
        if rng.random() > 1 / 12:
            return word
        i = rng.randrange(1, len(word) - 1)
        kind = rng.randrange(4)
        if kind == 0:
            return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        middle = ("", word[i] * 2, KEYS.get(word[i], word[i]))[kind - 1]
        return word[:i] + middle + word[i + 1 :]

    return re.sub(r"[A-Za-z]{4,}", slip, text)


def respell_units(text: str, label: str, rng: random.Random) -> str:
    """Write a measure's units otherwise: "18 ft" as "18'", "8'-6\"" as "8 ft 6 in"."""
    if label != "MEASURE":
        return text
    style = rng.choice(("{}'-{}\"", "{}' {}\"", "{} ft {} in", "{}ft{}in", "{} feet {} inches"))
    text = FEET_AND_INCHES.sub(lambda m: style.format(m[1], m[2].strip()), text)
    if FEET_AND_INCHES.search(text):
        return text
    return UNIT.sub(lambda m: rng.choice(SPELLINGS[m[1]]), text)


def misread(text: str, label: str, rng: random.Random) -> str:
    """Confuse two shapes as OCR does: "rn" and "m", "1" and "l"."""
    seen, misread_as = rng.choice(SLIPS)
    places = [match.start() for match in re.finditer(re.escape(seen), text)]
    if not places:
        return text
    place = rng.choice(places)
    return text[:place] + misread_as + text[place + len(seen) :]


def drop_marks(text: str, label: str, rng: random.Random) -> str:
    """Leave out commas and periods; in a reference also inside ("G.O. 95" to "GO 95")."""
    marks = r"(?<!\d)[.,;:](?=\s|$)|[,;:](?=\s)" if label != "STANDARD" else r"(?<=[A-Z])\.|,(?=\s)"
    return re.sub(marks, lambda match: "" if rng.random() < 0.7 else match[0], text)


def renumber(text: str, label: str, rng: random.Random) -> str:
    """Put other numbers of the same size into a measure: half to one and a half times."""
    if label != "MEASURE":
        return text

    def other(match: re.Match[str]) -> str:
        value, decimals = float(match[0].replace(",", "")), match[0].partition(".")[2]
        value = max(value * rng.uniform(0.5, 1.5), 10 ** -len(decimals))
        return f"{value:{',' if ',' in match[0] else ''}.{len(decimals)}f}"

    def wire(match: re.Match[str]) -> str:
        return rng.choice(WIRES["/" in match[0]])

    return WIRE.sub(wire, NUMBER.sub(other, text))


def recase(parts: list[Piece], rng: random.Random) -> list[Piece]:
    """The whole text in capitals, in small letters, or with its first letter small.

    parts: the text's pieces.
    rng: chance.
    """
    kind = rng.choice(("upper", "lower", "lower", "first"))
    if kind == "first":
        return [(parts[0][0][:1].lower() + parts[0][0][1:], parts[0][1]), *parts[1:]]
    return [(getattr(text, kind)(), label) for text, label in parts]


EDITS: dict[str, Edit] = {
    "numbers": renumber,
    "units": respell_units,
    "abbreviations": abbreviate,
    "typing": mistype,
    "ocr": misread,
    "punctuation": drop_marks,
}
