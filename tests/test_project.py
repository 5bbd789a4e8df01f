"""The whole project on a tiny encoder: every step, the wheel, a foreign program."""

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import spacy
import srsly
import torch
from conftest import write_encoder
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.vocab import Vocab

from spacy_goback.adapters import find_shim
from spacy_goback.encoder import check_other
from spacy_goback.lora_shim import adapter_state

ROOT = Path(__file__).parent.parent
PARTS = ("assets", "configs", "scripts", "spacy_goback", "project.yml", "pyproject.toml", "LICENSE")
STEPS = ["fetch", "check", "convert", "train", "evaluate", "package"]
FOREIGN = """
import spacy
nlp = spacy.load("en_goback")
doc = nlp("18 ft clearance over street meets G.O. 95 requirement")
print([(ent.text, ent.label_) for ent in doc.ents])
assert doc._.trf_data is None
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with little data, a tiny encoder and few steps."""
    folder = tmp_path_factory.mktemp("project")
    hidden = shutil.ignore_patterns("encoder", "__pycache__")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=hidden)
        else:
            shutil.copy(source, folder)
    for split in ("train", "dev", "test"):
        file = folder / "assets" / "annotations" / f"{split}.jsonl"
        srsly.write_jsonl(file, list(srsly.read_jsonl(file))[:40])
    write_encoder(folder / "tiny")
    for recipe in (folder / "configs").glob("*.cfg"):
        config = recipe.read_text()
        config = re.sub(r"(max_steps|eval_frequency|total_steps) = \d+", r"\1 = 8", config)
        recipe.write_text(config)
    shutil.copy(folder / "configs" / "lora.cfg", folder / "configs" / "tiny.cfg")
    return folder


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    variables = ["--vars.encoder", "tiny", "--vars.config", "tiny"]
    line = [sys.executable, "-m", "spacy", "project", *command]
    if command[0] == "run":
        line += [".", *variables]
    return subprocess.run(line, cwd=project, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(project: Path) -> Path:
    done = run(project, "run", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def test_assets_are_there(project: Path) -> None:
    done = run(project, "assets")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_run_does_nothing(finished: Path) -> None:
    done = run(finished, "run", "all")
    skipped = re.findall(r"Skipping '(\w+)': nothing changed", done.stdout)
    assert done.returncode == 0 and skipped == STEPS


def test_reports_are_written(finished: Path) -> None:
    metrics = finished / "metrics"
    scores = srsly.read_json(metrics / "dev.json")["scores"]
    assert scores["all"]["support"] > 100
    assert "| all |" in (metrics / "dev.md").read_text()
    assert "40 texts differ" in (metrics / "dev-errors.html").read_text()
    assert not (metrics / "test_log.jsonl").exists()


def test_confidences_are_reported(finished: Path) -> None:
    metrics = finished / "metrics"
    text = (metrics / "dev-confidence.md").read_text()
    assert "| before calibration |" in text and "| after, as delivered |" in text
    scores = srsly.read_json(metrics / "dev-confidence.json")
    assert scores["ece"].keys() == scores["brier"].keys() == {"before", "after"}
    assert scores["brier"]["after"] <= scores["brier"]["before"]
    assert "| sure | wrong | found |" in (metrics / "dev-mistakes.md").read_text()
    for picture in ("reliability", "curve"):
        assert (metrics / f"dev-{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_a_release_is_assembled_without_training(finished: Path) -> None:
    for step in ("keep", "assemble"):
        done = run(finished, "run", step)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (finished / "release" / "metrics" / "dev-confidence.md").is_file()
    trained, again = (
        spacy.load(finished / "training" / name / "model-best") for name in ("tiny", "release")
    )
    gold = list(DocBin().from_disk(finished / "corpus" / "dev.spacy").get_docs(Vocab()))
    texts = [doc.text for doc in gold]
    found = [
        [(e.start_char, e.end_char, e.label_) for doc in nlp.pipe(texts) for e in doc.ents]
        for nlp in (trained, again)
    ]
    assert found[0] and found[0] == found[1]
    states = []
    for nlp in (trained, again):
        with nlp.select_pipes(enable=["transformer"]):
            states.append([doc._.trf_data.tensors[0] for doc in nlp.pipe(texts)])
    assert max(abs(a - b).max() for a, b in zip(*states, strict=True)) <= 1e-4


def test_opening_the_test_set_is_logged(finished: Path) -> None:
    for _ in range(2):
        done = run(finished, "run", "evaluate-test")
        assert done.returncode == 0, done.stdout + done.stderr
    entries = list(srsly.read_jsonl(finished / "metrics" / "test_log.jsonl"))
    scores = srsly.read_json(finished / "metrics" / "test.json")["scores"]
    assert [entry["f1"] for entry in entries] == pytest.approx([scores["all"]["f1"]] * 2, abs=1e-4)


def script(project: Path, *command: str) -> str:
    line = [sys.executable, *command]
    done = subprocess.run(line, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_noisy_twin_has_the_same_entities(finished: Path) -> None:
    twins = [
        [doc for doc in DocBin().from_disk(finished / "corpus" / name).get_docs(Vocab())]
        for name in ("dev.spacy", "dev-noisy.spacy")
    ]
    clean, noisy = ([[e.label_ for e in doc.ents] for doc in docs] for docs in twins)
    assert clean == noisy
    changed = sum(a.text != b.text for a, b in zip(*twins, strict=True))
    assert changed > len(clean) / 2


def test_baselines_are_trained_and_opened_once(finished: Path) -> None:
    log = finished / "metrics" / "test_log.jsonl"
    command = ["scripts/baselines.py", "tok2vec", "--seeds", "2", "--test"]
    before = len(list(srsly.read_jsonl(log))) if log.exists() else 0
    script(finished, *command)
    text = (finished / "metrics" / "baselines.md").read_text()
    assert re.search(r"\| test all \| \d\.\d{3} ± \d\.\d{3} \|", text)
    assert "| dev-noisy all |" in text
    script(finished, *command)
    entries = list(srsly.read_jsonl(log))[before:]
    assert [Path(entry["model"]).parent.name for entry in entries] == ["tok2vec-0", "tok2vec-1"]
    assert (finished / "metrics" / "baselines.md").read_text() == text


def test_the_learning_curve_grows_by_whole_documents(finished: Path) -> None:
    script(finished, "scripts/learning_curve.py", "--recipe", "tok2vec", "--plot", "curve.png")
    curve = srsly.read_json(finished / "metrics" / "curve.json")
    assert curve["records"] == [20, 20, 20, 40] and len(curve["f1"]["all"]) == 4
    assert (finished / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_tuning_shows_what_was_run_and_what_was_not(finished: Path) -> None:
    command = ["scripts/tune.py", "--recipes", "tiny,tok2vec", "--encoders", "tiny"]
    command += ["--steps", "5", "--targets", "qv", "--ranks", "2,4", "--rates", "0.001"]
    none = script(finished, *command, "--minutes", "0")
    assert none.count("not run") == 3
    script(finished, *command)
    text = (finished / "metrics" / "tune.md").read_text()
    row = r"\| tiny \| tiny \| [24] \| qv \| 0.001 \| \d\.\d{3} \| 1 of 1 \|"
    assert len(re.findall(row, text)) == 2
    assert re.search(r"\| tok2vec \|  \|  \|  \| 0.001 \| \d\.\d{3} \| 1 of 1 \|", text)
    folders = [folder.name for folder in (finished / "training" / "tune").iterdir()]
    lora = [f"tiny-tiny-{rank}-qv-0.001-5-0" for rank in (2, 4)]
    assert sorted(folders) == [*lora, "tok2vec-0.001-5-0"]


def test_the_published_job_is_measured(finished: Path) -> None:
    script(finished, "scripts/random_encoder.py", "random", "--source", "tiny")
    command = ["scripts/published_job.py", "random", "--judged", "training/tiny/model-best"]
    script(finished, *command, "--records", "20", "--epochs", "2")
    text = (finished / "metrics" / "published.md").read_text()
    # 2 layers, 2 targets, two matrices of 16 by 32 each, in float32, and a header
    size = int(re.search(r"adapter, bytes \| ([\d,]+)", text)[1].replace(",", ""))
    assert 0 < size - 2 * 2 * 2 * 16 * 32 * 4 < 2000
    assert re.search(r"95% of 1000 draws \| \d\.\d{3} to \d\.\d{3}", text)


def test_pretraining_pauses_and_goes_on_to_a_folded_encoder(finished: Path) -> None:
    command = [sys.executable, "scripts/pretrain.py", "assets/annotations/train.jsonl:3"]
    command += ["--encoder", "tiny", "--steps", "4", "--every", "2", "--batch", "4"]
    command += ["--length", "32", "--rank", "2", "--folded", "training/domain-encoder"]
    paused = subprocess.run([*command, "--minutes", "0"], cwd=finished, capture_output=True)
    assert paused.returncode == 2 and b"Paused at step 0 of 4" in paused.stdout + paused.stderr
    assert "step 4: loss" in script(finished, *command[1:])
    adapter = finished / "training" / "domain-adapter"
    assert {"adapter_config.json", "adapter_model.safetensors", "loss.png", "README.md"} == {
        file.name for file in adapter.iterdir()
    }
    assert re.search(r"\| train.jsonl \| [\d,]+ \| 3 \|", (adapter / "README.md").read_text())
    bad = subprocess.run([*command, "--rank", "4"], cwd=finished, capture_output=True, text=True)
    assert bad.returncode == 1 and "other settings" in bad.stderr
    assert check_other(str(finished / "training" / "domain-encoder")) == "distilbert"


def test_the_page_on_the_corpus_is_current(tmp_path: Path) -> None:
    page = ROOT / "docs" / "corpus.md"
    shutil.copy(page, tmp_path)
    script(ROOT, "scripts/describe_corpus.py", "--page", str(tmp_path / page.name))
    assert (tmp_path / page.name).read_text() == page.read_text()


def test_ablation_names_every_family(finished: Path) -> None:
    done = run(finished, "run", "ablate")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (finished / "metrics" / "patterns.md").read_text()
    families = sorted(f.stem for f in (finished / "assets" / "patterns").glob("*.jsonl"))
    assert re.findall(r"without (\w+)", text) == families


def test_spacys_own_data_check_is_clean(finished: Path) -> None:
    paths = []
    for split in ("train", "dev"):  # all of the annotations
        source = ROOT / "assets" / "annotations" / f"{split}.jsonl"
        convert = [sys.executable, "scripts/convert.py", source, f"full-{split}.spacy"]
        subprocess.run(convert, cwd=finished, check=True, capture_output=True)
        paths += [f"--paths.{split}", f"full-{split}.spacy"]
    command = [sys.executable, "-m", "spacy", "debug", "data", "configs/tok2vec.cfg"]
    done = subprocess.run(
        [*command, *paths],
        cwd=finished,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "No entities consisting of or starting/ending with whitespace" in done.stdout
    assert "\u2718" not in done.stdout, done.stdout


@pytest.mark.parametrize("own_encoder", [False, True])
def test_training_goes_on_from_a_saved_pipeline(finished: Path, own_encoder: bool) -> None:
    saved = "training/tiny/model-best"
    config = spacy.util.load_config(finished / "configs" / "tiny.cfg", interpolate=False)
    config["paths"]["encoder"] = "nowhere"  # all weights come from the saved pipeline
    for name in ("transformer", "ner"):
        config["components"][name] = {"source": saved}
    if own_encoder:
        config["components"]["ner"]["replace_listeners"] = ["model.tok2vec"]
        config["training"]["frozen_components"] = ["transformer"]
    name = f"continued-{own_encoder}"
    config.to_disk(finished / "configs" / f"{name}.cfg")
    command = [sys.executable, "-m", "spacy", "train", f"configs/{name}.cfg", "--output", name]
    done = subprocess.run(command, cwd=finished, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first, then = (spacy.load(finished / path) for path in (saved, f"{name}/model-last"))
    component = "ner" if own_encoder else "transformer"
    before, after = adapter(first, "transformer"), adapter(then, component)
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    if own_encoder:
        kept = adapter(then, "transformer")
        assert all(torch.equal(before[key], kept[key]) for key in before)


def adapter(nlp: Language, component: str) -> dict[str, torch.Tensor]:
    return adapter_state(find_shim(nlp, component).peft_model, "default")


def test_bad_annotations_stop_the_project(finished: Path) -> None:
    file = finished / "assets" / "annotations" / "train.jsonl"
    good = file.read_text()
    line = {"text": "Pole leans", "spans": [{"start": 0, "end": 3, "label": "EQUIPMENT"}]}
    file.write_text(good + srsly.json_dumps(line) + "\n")
    done = run(finished, "run", "check")
    file.write_text(good)
    assert done.returncode != 0
    assert "train.jsonl:41: span 0-3 EQUIPMENT 'Pol' cuts a token in two." in done.stderr


def test_the_wheel_alone_in_a_new_environment(finished: Path, tmp_path: Path) -> None:
    wheel = next((finished / "packages").glob("en_goback-*/dist/*.whl"))
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    limits = ["--constraint", str(ROOT / "constraints.txt")]
    install = [python, "-m", "pip", "install", "--quiet", *limits, wheel]
    subprocess.run(install, check=True, cwd=tmp_path, capture_output=True)
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True).stdout
    assert "peft" not in listed and "spacy-goback" not in listed
    done = subprocess.run(
        [python, "-I", "-c", FOREIGN], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # The model knows nothing after eight steps; the ruler does.
    assert "('G.O. 95', 'STANDARD')" in done.stdout


def test_the_readme_holds_the_projects_documentation(tmp_path: Path) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copy(ROOT / "project.yml", tmp_path)
    command = [sys.executable, "-m", "weasel", "document", ".", "--output", "README.md"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert section(tmp_path / "README.md") == section(ROOT / "README.md")


def section(readme: Path) -> str:
    start, end = (f"<!-- WEASEL: AUTO-GENERATED DOCS {word}" for word in ("START", "END"))
    # Links to local files are written only where these are there.
    text = readme.read_text("utf8").partition(start)[2].partition(end)[0]
    return re.sub(r"\[(`[^`]+`)\]\(assets[^)]*\)", r"\1", text)
