"""Build the wheel of the trained pipeline: adapter merged, run-time modules inside."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_goback.cli import fail
from spacy_goback.packaging import PackageError, build_wheel


def main(pipeline: Path, output: Path = Path("packages"), name: str = "goback") -> None:
    """Build OUTPUT/en_NAME-VERSION/dist/*.whl."""
    if not (pipeline / "meta.json").is_file():
        fail(f"{pipeline} is no trained pipeline: run the step `train` first.")
    try:
        wheel = build_wheel(pipeline, output, name=name, license_file=Path("LICENSE"))
    except PackageError as error:
        fail(error)
    msg.good(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    typer.run(main)
