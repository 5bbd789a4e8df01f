import lzma
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = b"one\ntwo\n\nthree\n"


def cut(folder: Path, *drop: str) -> subprocess.CompletedProcess[str]:
    (folder / "a.txt.xz").write_bytes(lzma.compress(TEXT))
    options = [part for span in drop for part in ("--drop", span)]
    command = [sys.executable, ROOT / "scripts" / "cut_text.py", "a.txt.xz", "b.txt.xz", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("drop", "left"),
    [(["4:9"], b"one\nthree\n"), (["0:4", "9:15"], b"two\n\n"), (["0:15"], b"")],
)
def test_passages_are_left_out(tmp_path: Path, drop: list[str], left: bytes) -> None:
    done = cut(tmp_path, *drop)
    assert done.returncode == 0, done.stderr
    assert lzma.decompress((tmp_path / "b.txt.xz").read_bytes()) == left


@pytest.mark.parametrize("drop", [["5:9"], ["4:99"], ["0:8", "4:9"], ["9:4"], ["a:b"], ["4"]])
def test_what_is_no_passage_is_refused(tmp_path: Path, drop: list[str]) -> None:
    done = cut(tmp_path, *drop)
    assert done.returncode == 1 and done.stderr.startswith("Error: --drop")
    assert not (tmp_path / "b.txt.xz").exists()
