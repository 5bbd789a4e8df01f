"""Keeping PyTorch and tokenizers from locking up in worker processes."""

import multiprocessing
import os

import torch

# A forked child of a process whose Rust tokenizer ran in parallel warns and may lock up.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
_HOME = os.getpid()
_limited_process: int | None = None


def limit_worker_threads() -> None:
    """Give PyTorch one thread, once, in a forked or multiprocessing worker.

    OpenMP's thread pool does not survive a fork: the first parallel region in the child would
    wait forever. A worker that wants more threads can call `torch.set_num_threads` afterwards.
    """
    global _limited_process
    process = os.getpid()
    if process == _limited_process:
        return
    if process != _HOME or multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)
    _limited_process = process
