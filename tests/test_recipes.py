import re
from pathlib import Path

import pytest

from spacy_goback.recipes import DONE, TrainingError, fingerprint, train
from spacy_goback.tokenizer import blank

ROOT = Path(__file__).parent.parent


@pytest.fixture
def recipe(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    """The recipe without a transformer, two steps long, and data of two records."""
    from spacy.tokens import DocBin

    from spacy_goback.annotations import make_doc
    from spacy_goback.markup import parse

    nlp = blank()
    lines = ["[[18 ft|MEASURE]] over the [[street|LOCATION]]", "no entity here"]
    data = tmp_path / "data.spacy"
    DocBin(docs=[make_doc(parse(line), nlp) for line in lines]).to_disk(data)
    config = (ROOT / "configs" / "tok2vec.cfg").read_text()
    config = re.sub(r"(max_steps|eval_frequency|total_steps) = \d+", r"\1 = 2", config)
    (tmp_path / "tiny.cfg").write_text(config)
    paths = {"paths.patterns": ROOT / "assets" / "patterns"}
    return tmp_path / "tiny.cfg", {"paths.train": data, "paths.dev": data, **paths}


def test_a_recipe_is_trained_once(recipe: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    config, overrides = recipe
    cost = train(config, tmp_path / "out", overrides)
    assert cost.minutes > 0 and cost.memory_gb > 0.05
    best = tmp_path / "out" / "model-best" / "meta.json"
    before = best.stat().st_mtime_ns
    assert train(config, tmp_path / "out", overrides) == cost
    assert best.stat().st_mtime_ns == before
    train(config, tmp_path / "out", {**overrides, "system.seed": 1})
    assert best.stat().st_mtime_ns != before


def test_the_fingerprint_sees_recipe_settings_and_data(
    recipe: tuple[Path, dict[str, object]],
) -> None:
    config, overrides = recipe
    marks = {fingerprint(config, overrides), fingerprint(config, overrides | {"nlp.lang": "xx"})}
    Path(str(overrides["paths.train"])).write_bytes(b"other")
    marks.add(fingerprint(config, overrides))
    config.write_text(config.read_text().replace("dropout = 0.1", "dropout = 0.2"))
    marks.add(fingerprint(config, overrides))
    assert len(marks) == 4


def test_the_fingerprint_is_of_what_is_trained(recipe: tuple[Path, dict[str, object]]) -> None:
    config, overrides = recipe
    mark = fingerprint(config, overrides)
    text = config.read_text()
    config.write_text("# A comment\n" + text)
    assert fingerprint(config, overrides) == mark
    config.write_text(text.replace("seed = 0", "seed = 7"))
    assert fingerprint(config, overrides) != mark
    assert fingerprint(config, overrides | {"system.seed": 0}) == mark


def test_a_failed_training_leaves_no_note(
    recipe: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    config, overrides = recipe
    with pytest.raises(TrainingError, match=r"tiny\.cfg: training failed"):
        train(config, tmp_path / "out", {**overrides, "paths.dev": "nowhere.spacy"})
    assert not (tmp_path / "out" / DONE).exists()
