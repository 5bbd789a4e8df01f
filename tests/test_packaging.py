"""The wheel beside the library: contents, requirements, which copy serves."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import spacy
from conftest import HIDE_LIBRARY, TEXTS, build, train
from spacy.language import Language

import spacy_goback
from spacy_goback.packaging import RUNTIME_MODULES, build_wheel, runtime_requirements


@pytest.fixture(scope="module")
def wheel(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    nlp = build(encoder, recognizer="goback_ner")
    train(nlp, steps=30)
    nlp.to_disk(folder / "model")
    return build_wheel(folder / "model", folder / "packages", license_file=Path("LICENSE"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, target, wheel], check=True)
    return target


def run(code: str, site: Path) -> str:
    """Run code where the wheel and the library are both installed, warnings as errors."""
    start = f"import sys; sys.path.insert(0, {str(site)!r})\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", start + code], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.strip()


def test_run_time_modules_import_nothing_of_ours_but_each_other() -> None:
    folder = Path(spacy_goback.__file__).parent
    for module in RUNTIME_MODULES:
        for node in ast.walk(ast.parse((folder / f"{module}.py").read_text("utf8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.module in RUNTIME_MODULES, f"{module} imports {node.module}"
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert not any(n.startswith(("spacy_goback", "peft")) for n in names), module


def test_requirements_are_published_and_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    found = re.findall(r"^Requires-Dist: ([\w-]+)", metadata, re.MULTILINE)
    assert sorted(found) == [
        "safetensors",
        "spacy",
        "spacy-transformers",
        "srsly",
        "torch",
        "transformers",
    ]
    assert len(runtime_requirements()) == 5
    assert all("<" in line for line in re.findall(r"^Requires-Dist: .+", metadata, re.MULTILINE))


def test_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        model = archive.read(next(n for n in names if n.endswith("transformer/model")))
        config = archive.read(next(n for n in names if n.endswith("config.cfg"))).decode()
    for module in RUNTIME_MODULES:
        assert f"en_goback/runtime/{module}.py" in names
    assert any(n.endswith("LICENSE") for n in names)
    assert any(n.endswith("LICENSES_SOURCES") for n in names)
    assert (
        not any(n.endswith((".pkl", ".pickle", ".pt", ".pth")) for n in names)
        and b"data.pkl" not in model
    )
    assert "goback.TransformerModel.v1" in config and "Lora" not in config and "rank" not in config


def test_meta_tells_labels_sources_and_licence(installed: Path) -> None:
    code = "import en_goback, json; print(json.dumps(en_goback.load().meta))"
    meta = spacy.util.srsly.json_loads(run(code, installed))
    assert meta["license"] == "MIT" and meta["version"] == spacy_goback.__version__
    assert set(meta["labels"]["ner"]) == {"EQUIPMENT", "LOCATION", "MEASURE", "SPECIFICATION"}
    assert any("synthetic" in source["name"] for source in meta["sources"])
    assert not any("goback" in requirement for requirement in meta["requirements"])


@pytest.mark.parametrize(
    "imports",
    [
        "import en_goback, spacy_goback",
        "import spacy_goback, en_goback",
        "import spacy_goback.lora, en_goback",
        "pass",
    ],
)
def test_library_and_wheel_in_either_order(imports: str, installed: Path) -> None:
    code = f"""
{imports}
import spacy
nlp = spacy.load("en_goback")
assert nlp("18 ft clearance over street").ents
print(type(nlp.get_pipe("transformer").model).__module__)
"""
    # The library's entry points come before names that were registered by hand.
    assert run(code, installed) == "spacy_goback.transformer"


def test_the_wheel_serves_itself_without_the_library(installed: Path) -> None:
    code = """
import spacy
nlp = spacy.load("en_goback")
ents = nlp("18 ft clearance over street").ents
assert ents and all(ent._.confidence > 0.3 for ent in ents)
print(type(nlp.get_pipe("transformer").model).__module__, type(nlp.get_pipe("ner")).__module__)
"""
    assert run(HIDE_LIBRARY + code, installed).split() == [
        "en_goback.runtime.transformer",
        "en_goback.runtime.recognizer",
    ]


def test_a_wheel_of_another_version_loads_beside_the_library(
    installed: Path, tmp_path: Path
) -> None:
    shutil.copytree(installed, tmp_path / "site")
    registration = tmp_path / "site" / "en_goback" / "runtime" / "registration.py"
    text = registration.read_text("utf8")
    # A later release has a function that this library lacks: its own copy serves that one.
    text = text.replace('"goback.Tok2VecTransformer.v1": ', '"goback.Tok2VecTransformer.v9": ')
    registration.write_text(text, "utf8")
    factory = tmp_path / "site" / "en_goback" / "runtime" / "recognizer.py"
    text = factory.read_text("utf8").replace('"""Build the component.', '"""Build it.')
    factory.write_text(text, "utf8")
    code = """
import en_goback, spacy
print(spacy.load("en_goback").get_pipe("ner").__class__.__module__)
for name in ("TransformerModel.v1", "Tok2VecTransformer.v1", "Tok2VecTransformer.v9"):
    print(spacy.registry.architectures.get(f"goback.{name}").__module__)
"""
    assert run(code, tmp_path / "site").splitlines() == [
        "spacy_goback.recognizer",
        "spacy_goback.transformer",
        "spacy_goback.transformer",
        "en_goback.runtime.transformer",
    ]


def test_a_plain_pipeline_packages_too(encoder: Path, tmp_path: Path) -> None:
    nlp = build(encoder, "goback.TransformerModel.v1")
    nlp.to_disk(tmp_path / "model")
    built = build_wheel(tmp_path / "model", tmp_path / "packages", name="other")
    assert built.name.startswith("en_other-")
    leftovers = [p.name for p in (tmp_path / "packages").iterdir()]
    assert leftovers == [f"en_other-{spacy_goback.__version__}"]


def test_merged_and_packaged_entities_agree(lora: Language, tmp_path: Path) -> None:
    train(lora, steps=30)
    lora.to_disk(tmp_path / "model")
    expected = [doc.to_json()["ents"] for doc in lora.pipe(TEXTS)]
    built = build_wheel(tmp_path / "model", tmp_path / "packages")
    inner = next(built.parent.parent.glob("en_goback/en_goback-*"))
    assert [doc.to_json()["ents"] for doc in spacy.load(inner).pipe(TEXTS)] == expected
