"""Worker processes under every start method, each in a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEXTS
from spacy.language import Language

SCRIPT = """
import multiprocessing, sys, warnings
import numpy as np
import spacy

warnings.simplefilter("error")
# Python 3.12 and later warn of any fork beside other threads, which is what is tested here.
warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)
method, path, order = sys.argv[1:4]
texts = sys.argv[4:] * 8

def states(docs):
    return [doc._.trf_data.model_output.last_hidden_state for doc in docs]

if __name__ == "__main__":
    # Several threads in the parent are what makes stock pipelines hang after a fork.
    import torch
    torch.set_num_threads(2)
    multiprocessing.set_start_method(method)
    nlp = spacy.load(path)
    if order == "before":
        expected = states(nlp.pipe(texts, batch_size=4))
        torch.ones(2000, 2000) @ torch.ones(2000, 2000)
    found = states(nlp.pipe(texts, batch_size=4, n_process=2))
    if order == "after":
        expected = states(nlp.pipe(texts, batch_size=4))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    print("same", len(found))
"""


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_two_workers_give_the_same_states(
    trained: Language, tmp_path: Path, method: str, order: str
) -> None:
    trained.to_disk(tmp_path / "saved")
    script = tmp_path / "work.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "error", script, method, tmp_path / "saved", order, *TEXTS],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1:] == [f"same {8 * len(TEXTS)}"], done.stderr
    assert done.stderr == ""
