"""One wheel that stands alone: pipeline, run-time modules, requirements, licences."""

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy.cli.package import TEMPLATE_INIT
from spacy.language import Language
from spacy.util import get_minor_version_range
from thinc.api import Model

from .adapters import lora_models
from .base import SOURCE_KEY
from .merging import PLAIN, merge_adapter
from .transformer import TransformerModel

# Modules that the packaged pipeline needs; they import nothing of ours but each other.
RUNTIME_MODULES = (
    "base",
    "calibration",
    "confidence",
    "crf",
    "policy",
    "recognizer",
    "registration",
    "shim",
    "tagger",
    "tensors",
    "tokenizer",
    "transformer",
    "weights",
    "workers",
)
RUNTIME_REQUIREMENTS = ("spacy-transformers", "transformers", "torch", "safetensors", "srsly")
CORPUS = {
    "name": "spacy-goback annotations (synthetic: written and annotated by language models)",
    "license": "CC BY 4.0",
}
README = """\
# {lang}_{name}

{description}

```python
import spacy

nlp = spacy.load("{lang}_{name}")
doc = nlp("18 ft clearance over street meets G.O. 95 requirement")
print([(ent.text, ent.label_) for ent in doc.ents])
```

Labels: {labels}. F1 on the development set: {f1}.
"""
PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "{version}"
description = "{description}"
readme = "README.md"
license = "{license}"
license-files = ["LICENSE*"]
requires-python = ">=3.11"
dependencies = {requirements}

[project.entry-points.spacy_models]
{package} = "{package}"

[tool.setuptools]
packages = ["{package}", "{package}.runtime"]

[tool.setuptools.package-data]
{package} = ["meta.json", "{package}-{version}/**"]
"""


class PackageError(RuntimeError):
    """The wheel cannot be built; the message says why."""


def runtime_requirements() -> list[str]:
    """What the packaged pipeline needs from the index: the library's own ranges for it."""
    ours = [requirement.partition(";")[0].strip() for requirement in requires("spacy-goback") or ()]
    wanted = (*RUNTIME_REQUIREMENTS,)
    return sorted(r for r in ours if r.startswith(tuple(f"{w}{c}" for w in wanted for c in "<>=!")))


def build_wheel(
    pipeline: Path, output: Path, *, name: str = "goback", license_file: Path | None = None
) -> Path:
    """Merge the adapter of a trained pipeline and build the wheel.

    pipeline: a trained pipeline on disk.
    output: the folder that gets NAME-VERSION/dist/*.whl, as `spacy package` lays it out.
    name: the pipeline's name, without the language.
    license_file: goes into the wheel as LICENSE.
    Raises PackageError where the build fails.
    """
    nlp = spacy.load(pipeline)
    sources = [CORPUS, *_encoder_sources(nlp)]
    if any(True for _ in lora_models(nlp)):
        merge_adapter(nlp, architecture=PLAIN)
    nlp.meta.update(
        name=name,
        version=version("spacy-goback"),
        description="Entities of utility construction audits and specifications",
        author="spacy-goback developers",
        license="MIT",
        sources=sources,
        spacy_version=get_minor_version_range(spacy.__version__),
    )
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".package-") as work:
        model = Path(work, "model")
        nlp.to_disk(model)
        _write_documents(model, nlp.meta, license_file)
        _run("spacy", "package", model, work, "--build", "none")
        folder = next(path for path in Path(work).iterdir() if path != model)
        _add_runtime(folder, nlp.meta)
        _run("build", "--wheel", "--no-isolation", folder)
        shutil.rmtree(folder / "build", ignore_errors=True)
        target = output / folder.name
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
    return next((target / "dist").glob("*.whl"))


def _encoder_sources(nlp: Language) -> list[dict[str, str]]:
    found = []
    for _, component in nlp.components:
        model = getattr(component, "model", None)
        for node in model.walk() if isinstance(model, Model) else ():
            if isinstance(node, TransformerModel):
                config = node.shim.plain_model().config
                source = getattr(config, SOURCE_KEY, None) or node.shim.base
                license = source.get("license", "see the encoder's own licence")
                found.append({"name": source["name"], "license": license})
    return found


def _write_documents(model: Path, meta: dict[str, Any], license_file: Path | None) -> None:
    labels = ", ".join(sorted(meta["labels"].get("ner", [])))
    f1 = meta.get("performance", {}).get("ents_f")
    shown = {"labels": labels, "f1": "unknown" if f1 is None else f"{f1:.3f}"}
    (model / "README.md").write_text(README.format(**{**meta, **shown}), "utf8")
    lines = [f"{source['name']}: {source['license']}" for source in meta["sources"]]
    (model / "LICENSES_SOURCES").write_text("\n".join(lines) + "\n", "utf8")
    if license_file:
        shutil.copy(license_file, model / "LICENSE")


def _add_runtime(folder: Path, meta: dict[str, Any]) -> None:
    package = f"{meta['lang']}_{meta['name']}"
    runtime = folder / package / "runtime"
    runtime.mkdir()
    here = Path(__file__).parent
    for module in RUNTIME_MODULES:
        shutil.copy(here / f"{module}.py", runtime)
    docstring = '"""Run-time modules of spacy-goback, for where the library is not installed."""\n'
    (runtime / "__init__.py").write_text(docstring, "utf8")
    imports = "from .runtime.registration import register\n\nregister()"
    (folder / package / "__init__.py").write_text(TEMPLATE_INIT.format(imports=imports), "utf8")
    # spaCy lists the owners of registered functions, of which the library is one: not published.
    requirements = [f"spacy{meta['spacy_version']}", *runtime_requirements()]
    inner = folder / package / f"{package}-{meta['version']}" / "meta.json"
    for file in (folder / "meta.json", inner):
        srsly.write_json(file, srsly.read_json(file) | {"requirements": requirements[1:]})
    shutil.copy(folder / "meta.json", folder / package / "meta.json")
    (folder / "setup.py").unlink()
    text = PYPROJECT.format(package=package, requirements=requirements, **_plain(meta))
    (folder / "pyproject.toml").write_text(text, "utf8")


def _plain(meta: dict[str, Any]) -> dict[str, Any]:
    return {key: meta[key] for key in ("version", "description", "license")}


def _run(*command: str | Path) -> None:
    line = [sys.executable, "-m", *map(str, command)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise PackageError(f"python -m {command[0]} {command[1]} failed:\n{tail}")
