import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_goback.annotations import join, pieces
from spacy_goback.markup import parse
from spacy_goback.noise import (
    EDITS,
    abbreviate,
    drop_marks,
    misread,
    mistype,
    recase,
    renumber,
    respell_units,
)

LINE = "At Loc 3 the [[18 ft|MEASURE]] [[clearance|SPECIFICATION]] is short, [[G.O. 95|STANDARD]]."


def outcomes(edit: str, text: str, label: str = "", n: int = 300) -> set[str]:
    return {EDITS[edit](text, label, random.Random(seed)) for seed in range(n)}


@given(st.text(), st.sampled_from(["", "MEASURE", "STANDARD"]), st.integers(0, 99))
def test_no_text_breaks_an_edit(text: str, label: str, seed: int) -> None:
    for edit in EDITS.values():
        assert isinstance(edit(text, label, random.Random(seed)), str)


def test_trade_words_are_shortened_whole_and_in_their_case() -> None:
    found = outcomes("abbreviations", "transformer with TRANSFORMER")
    assert "XFMR w/ XFMR" in found and "transformer with TRANSFORMER" in found
    assert outcomes("abbreviations", "without-doubt transformerlike") == {
        "without-doubt transformerlike"
    }


def test_units_are_respelt_in_measures_alone() -> None:
    found = outcomes("units", "18 ft", "MEASURE")
    assert {"18'", "18 feet", "18 FT", "18ft"} <= found
    assert outcomes("units", "18 ft") == {"18 ft"}
    assert {"8'-6\"", "8 ft 6 in", "8ft6in"} <= outcomes("units", "8 feet 6 inches", "MEASURE")
    assert outcomes("units", "10-foot", "MEASURE") == {"10-foot"}


def test_numbers_stay_plausible() -> None:
    feet = {int(text.split()[0]) for text in outcomes("numbers", "18 ft", "MEASURE")}
    assert len(feet) > 5 and min(feet) >= 9 and max(feet) <= 27
    assert all("." in text and len(text) == 6 for text in outcomes("numbers", "5.5 ft", "MEASURE"))
    assert "22,500 V" not in outcomes("numbers", "22,500 V", "MEASURE", n=5)
    assert outcomes("numbers", "4/0", "MEASURE") == {"1/0", "2/0", "3/0", "4/0"}
    assert {text[0] for text in outcomes("numbers", "#4 AWG", "MEASURE")} == {"#"}
    assert outcomes("numbers", "1/2 in", "MEASURE") == {"1/2 in"}
    assert outcomes("numbers", "Rule 37", "STANDARD") == {"Rule 37"}


def test_typing_errors_keep_the_ends_of_a_word() -> None:
    found = outcomes("typing", "clearance")
    assert len(found) > 10 and all(word[0] == "c" and word[-1] == "e" for word in found)
    assert outcomes("typing", "18 ft top") == {"18 ft top"}


def test_scans_confuse_shapes() -> None:
    assert outcomes("ocr", "corner l0") == {"comer l0", "corner 10", "corner lO", "corner l0"}


def test_marks_are_dropped_but_not_inside_numbers() -> None:
    assert outcomes("punctuation", "short, 22,500 V.") == {
        "short, 22,500 V.",
        "short 22,500 V.",
        "short, 22,500 V",
        "short 22,500 V",
    }
    assert "GO 95" in outcomes("punctuation", "G.O. 95", "STANDARD")


def test_case_changes_the_whole_text() -> None:
    parts = pieces(parse(LINE))
    texts = {join(recase(parts, random.Random(seed))).text for seed in range(50)}
    text = join(parts).text
    assert texts == {text.upper(), text.lower(), text[0].lower() + text[1:]}


@pytest.mark.parametrize(
    "edit", [abbreviate, mistype, respell_units, misread, drop_marks, renumber]
)
def test_every_edit_is_listed(edit: object) -> None:
    assert edit in EDITS.values()
