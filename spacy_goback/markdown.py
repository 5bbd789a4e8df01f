"""Tables and figures as Markdown, one form for all reports."""

from collections.abc import Collection, Iterable, Sequence
from statistics import mean, stdev


def table(
    head: Iterable[object], rows: Iterable[Iterable[object]], left: Collection[int] = (0,)
) -> str:
    """Rows as a Markdown table.

    head: the titles of the columns.
    rows: cells, as many a row as there are titles.
    left: columns of words, set to the left; the others hold figures, set to the right.
    """
    titles = [str(title) for title in head]
    marks = ("---" if i in left else "---:" for i in range(len(titles)))
    lines = (f"| {' | '.join(map(str, row))} |" for row in rows)
    return "\n".join([f"| {' | '.join(titles)} |", f"|{'|'.join(marks)}|", *lines])


def spread(values: Sequence[float]) -> str:
    """Mean of several runs with their standard deviation, to three digits.

    values: one a run, at least one; of a single one there is no deviation.
    """
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation}"
