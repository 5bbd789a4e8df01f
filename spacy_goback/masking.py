"""Text for masked language modelling: packed rows of word pieces, and whole words to hide."""

import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .annotations import AnnotationError, read_jsonl

# Share of words that are hidden (Devlin et al. 2019); of those, what becomes of a hidden piece.
HIDDEN, MASKED, RANDOM = 0.15, 0.8, 0.1
# A figure can be guessed from its unit at best: hidden half as often, so that units still are.
FIGURES = 0.5


@dataclass(frozen=True)
class Rows:
    """Word pieces in rows of one length, the last one dropped if it is not full.

    ids: (rows, length) piece numbers.
    starts: (rows, length) whether a piece opens a word.
    chance: (rows, length) chance of the piece's word to be hidden; 0 for special pieces.
    """

    ids: torch.Tensor
    starts: torch.Tensor
    chance: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int]) -> "Rows":
        """Some of the rows.

        indices: which.
        """
        where = torch.tensor(indices)
        return Rows(self.ids[where], self.starts[where], self.chance[where])


def read_texts(path: Path) -> Iterator[str]:
    """The texts of a file, one a line: plain, packed by xz, or annotations in JSONL.

    path: .txt, .txt.xz or .jsonl.
    Raises AnnotationError where the file is missing or cannot be read.
    """
    if path.suffix == ".jsonl":
        yield from (record.text for record in read_jsonl(path))
        return
    try:
        with (
            lzma.open(path, "rt", encoding="utf8")
            if path.suffix == ".xz"
            else path.open(encoding="utf8") as file
        ):
            yield from (line.strip() for line in file if line.strip())
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AnnotationError(f"{path}: {reason}. Give UTF-8 text, .txt or .txt.xz.") from None


def pack(texts: Iterable[str], tokenizer: Any, length: int) -> Rows:
    """Put texts one after another, a separator between them, and cut rows.

    texts: any texts.
    tokenizer: a fast tokenizer of Hugging Face.
    length: pieces a row, with the two special ones at its ends.
    """
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids: list[int] = []
    starts: list[bool] = []
    chance: list[float] = []
    for encoding in tokenizer(list(texts), add_special_tokens=False, verbose=False).encodings:
        words = encoding.word_ids
        figures = {
            w for w, t in zip(words, encoding.tokens, strict=True) if any(map(str.isdigit, t))
        }
        ids += [*encoding.ids, last]
        starts += [a != b for a, b in zip([None, *words], words, strict=False)] + [True]
        chance += [HIDDEN * (FIGURES if word in figures else 1) for word in words] + [0.0]
    inner = length - 2
    count = len(ids) // inner
    shape = (count, inner)

    def rows(values: list[Any], ends: tuple[Any, Any], kind: torch.dtype) -> torch.Tensor:
        middle = torch.tensor(values[: count * inner], dtype=kind).reshape(shape)
        edges = [torch.full((count, 1), end, dtype=kind) for end in ends]
        return torch.cat([edges[0], middle, edges[1]], dim=1)

    return Rows(
        rows(ids, (first, last), torch.long),
        rows(starts, (True, True), torch.bool),
        rows(chance, (0.0, 0.0), torch.float),
    )


def hide(
    rows: Rows, mask: int, vocabulary: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide whole words.

    rows: what to hide in.
    mask: number of the mask piece.
    vocabulary: how many pieces there are, for the random ones.
    generator: chance; the same state hides the same words.
    Returns the pieces to show, (rows, length), and which of them are to be guessed, boolean.
    """
    word = rows.starts.cumsum(dim=1) - 1
    draw = torch.rand(rows.ids.shape, generator=generator).gather(1, word)
    hidden = draw < rows.chance
    fate = torch.rand(rows.ids.shape, generator=generator)
    other = torch.randint(vocabulary, rows.ids.shape, generator=generator)
    shown = torch.where(hidden & (fate < MASKED), mask, rows.ids)
    swapped = hidden & (fate >= MASKED) & (fate < MASKED + RANDOM)
    return torch.where(swapped, other, shown), hidden
