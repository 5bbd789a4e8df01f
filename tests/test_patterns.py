import re
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.language import Language

from spacy_goback import patterns
from spacy_goback.patterns import FAMILIES, family, read_patterns
from spacy_goback.tokenizer import make_tokenizer

ASSETS = Path(__file__).parent.parent / "assets" / "patterns"


@pytest.fixture(scope="module")
def ruler() -> Language:
    nlp = spacy.blank("en")
    nlp.tokenizer = make_tokenizer(nlp)
    nlp.add_pipe("entity_ruler").add_patterns(read_patterns(ASSETS))
    return nlp


def examples() -> list[tuple[str, str]]:
    """The example phrases in the docstrings of the pattern functions."""
    labels = {function: label for label, function in FAMILIES.values()}
    functions = [getattr(patterns, name) for name in dir(patterns) if name.islower()]
    found = []
    for function in functions:
        lines = re.findall(r"Example: (.+)", getattr(function, "__doc__", None) or "")
        for phrase in re.findall(r'"((?:\\.|[^"\\])+?\\?"?)"(?=[,.])', " ".join(lines)):
            found.append((phrase.replace('\\"', '"'), labels.get(function, "STANDARD")))
    return found


@pytest.mark.parametrize(("phrase", "label"), examples())
def test_the_examples_of_every_pattern_function(ruler: Language, phrase: str, label: str) -> None:
    doc = ruler(f"see {phrase} there")
    assert [(e.text, e.label_) for e in doc.ents] == [(phrase, label)]


def test_there_are_examples_to_test() -> None:
    assert len(examples()) > 35


@pytest.mark.parametrize(
    "text",
    ["we go 95 miles", "in case of rain", "the general rules", "pole #4", "3 of 4 ft", "a 4/5 mix"],
)
def test_what_only_looks_like_it_is_left_alone(ruler: Language, text: str) -> None:
    assert not ruler(text).ents


def test_the_files_are_what_the_functions_give() -> None:
    for name in FAMILIES:
        assert list(srsly.read_jsonl(ASSETS / f"{name}.jsonl")) == family(name)
    assert {file.stem for file in ASSETS.glob("*.jsonl")} == set(FAMILIES)


def test_a_folder_without_patterns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no pattern files"):
        read_patterns(tmp_path)
