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
    assert len(examples()) > 25


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


def test_where_ruler_and_model_meet_the_longer_span_stands() -> None:
    config = spacy.util.load_config(ASSETS.parent.parent / "configs" / "lora.cfg")
    nlp = spacy.blank("en")
    nlp.tokenizer = make_tokenizer(nlp)
    for name in ("entity_ruler", "entity_policy"):
        settings = dict(config["components"][name])
        nlp.add_pipe(settings.pop("factory"), name=name, config=settings)
    ruler, policy = nlp.get_pipe("entity_ruler"), nlp.get_pipe("entity_policy")
    ruler.add_patterns(read_patterns(ASSETS))
    doc = nlp.make_doc("the pole, G.O. 95 Rule 37 and Rule 22 of the tariff, Note 7")
    words = [
        ("pole", "EQUIPMENT"),
        ("G.O. 95", "SECTION"),
        ("Rule 22 of the tariff", "SPECIFICATION"),
    ]
    spans = [
        doc.char_span(doc.text.index(text), doc.text.index(text) + len(text), label=label)
        for text, label in [*words, ("Note 7", "TEST")]
    ]
    for span in spans:
        span._.confidence = 0.9
    doc.set_ents(spans)
    assert [(e.text, e.label_) for e in policy(ruler(doc)).ents] == [
        ("pole", "EQUIPMENT"),
        ("G.O. 95 Rule 37", "STANDARD"),
        ("Rule 22 of the tariff", "SPECIFICATION"),
        ("Note 7", "TEST"),
    ]
