"""Leave passages out of a text, by their byte offsets: what a licence does not let us use."""

import lzma
from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from spacy_goback.cli import fail
from spacy_goback.files import write_bytes


def main(
    source: Path,
    target: Annotated[Path, typer.Argument(help="Packed by xz, as .txt.xz")],
    drop: Annotated[list[str], typer.Option(help="FIRST:END in bytes of the unpacked text")],
) -> None:
    """Write what is left; a passage must begin and end with a line."""
    try:
        data = lzma.decompress(source.read_bytes())
    except (OSError, lzma.LZMAError) as error:
        fail(f"{source}: {error}. Give a text packed by xz.")
    try:
        spans = sorted((int(a), int(b)) for a, _, b in (part.partition(":") for part in drop))
    except ValueError:
        fail(f"--drop {' '.join(drop)}: give two numbers with a colon between.")
    kept, end = b"", 0
    for first, last in [*spans, (len(data), len(data))]:
        if not end <= first <= last <= len(data) or (first and data[first - 1 : first] != b"\n"):
            fail(f"--drop {first}:{last}: overlaps another, or does not begin with a line.")
        kept += data[end:first]
        end = last
    write_bytes(target, lzma.compress(kept))
    msg.good(f"{target}: {len(kept):,} of {len(data):,} bytes kept")


if __name__ == "__main__":
    typer.run(main)
