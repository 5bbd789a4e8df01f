"""What the confidences of a pipeline are worth: tables, reliability plot, precision and recall."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import spacy
import srsly
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from spacy.tokens import Doc

from spacy_goback.calibration import (
    Point,
    bins,
    brier,
    curve,
    ece,
    ece_interval,
    perfect_interval,
    threshold_for,
)
from spacy_goback.confidence import key
from spacy_goback.files import write_bytes
from spacy_goback.markdown import table
from spacy_goback.metrics import mistakes

matplotlib.use("agg")
# A bin of fewer spans says little: its share of right ones is off by 7 points by chance alone.
LEAST = 50
# How many mistakes are listed.
SHOWN = 50
PRECISIONS = (0.9, 0.95, 0.98, 0.99)
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
Pairs = list[tuple[Doc, Doc]]


@dataclass
class Stated:
    """What was said of the found entities, what came true, and how many there were to find."""

    confidence: list[float]
    right: list[bool]
    labels: list[str]
    gold: int

    def of(self, label: str) -> "Stated":
        """Those of one label; gold is then not counted.

        label: the name.
        """
        rows = [i for i, found in enumerate(self.labels) if found == label]
        confidence, right = [self.confidence[i] for i in rows], [self.right[i] for i in rows]
        return Stated(confidence, right, [label] * len(rows), 0)

    @property
    def bins(self) -> int:
        """How many bins: 15, fewer where these would hold fewer than `LEAST` spans."""
        return max(1, min(15, len(self.confidence) // LEAST))


def collect(pairs: Pairs) -> Stated:
    """Read the confidences off the predicted Docs.

    pairs: predicted and gold.
    """
    stated = Stated([], [], [], sum(len(reference.ents) for _, reference in pairs))
    for predicted, reference in pairs:
        gold = {key(entity) for entity in reference.ents}
        for entity in predicted.ents:
            stated.confidence.append(entity._.confidence)
            stated.right.append(key(entity) in gold)
            stated.labels.append(entity.label_)
    return stated


def has_confidences(pairs: Pairs) -> bool:
    """Whether the pipeline says how sure it is of every entity, and found one.

    pairs: predicted and gold.
    """
    found = [entity._.confidence for predicted, _ in pairs for entity in predicted.ents]
    return bool(found) and None not in found


def everything(model: str, references: Iterable[Doc], calibrated: bool) -> Pairs:
    """What the pipeline finds with no threshold set.

    model: name or path. references: the gold Docs. calibrated: or at temperature 1.
    """
    nlp = spacy.load(model)
    for _, component in nlp.components:
        if hasattr(component, "min_confidence"):
            component.min_confidence = 0.0
        settings = getattr(component, "cfg", {})
        if not calibrated and "temperature" in settings:
            settings["temperature"] = 1.0
    references = list(references)
    return list(zip(nlp.pipe(doc.text for doc in references), references, strict=True))


def report(model: str, pairs: Pairs, name: str, output: Path) -> None:
    """Write OUTPUT/NAME-confidence.md and .json, -mistakes.md, -reliability.png, -curve.png.

    model: name or path. pairs: what it predicts, and gold. name: of the gold set.
    """
    references = [reference for _, reference in pairs]
    then, now = (collect(everything(model, references, calibrated)) for calibrated in (False, True))
    shipped = collect(pairs)
    points = curve(now.confidence, now.right, now.gold)
    texts = [
        f"# Confidences on {name}\n",
        f"{now.gold} entities to find. ECE: expected calibration error, bins of equal mass; a "
        "perfectly calibrated model shows the last column by chance alone (95%). All that follows "
        "is of the entities found with no threshold set, but for the row that says otherwise.\n",
        overall({"before calibration": then, "after": now, "after, as delivered": shipped}),
        f"\n## By label, bins of at least {LEAST} spans\n",
        by_label(now),
        "\n## What a threshold keeps\n",
        thresholds(points),
        "\n## The threshold for a precision\n",
        wanted(points),
    ]
    surest = f"# The surest mistakes on {name}\n\n{mistakes_table(pairs)}\n"
    write_bytes(output / f"{name}-mistakes.md", surest.encode())
    write_bytes(output / f"{name}-confidence.md", ("\n".join(texts) + "\n").encode())
    data = {
        measure.__name__: {
            when: measure(s.confidence, s.right) for when, s in (("before", then), ("after", now))
        }
        for measure in (ece, brier)
    }
    write_bytes(output / f"{name}-confidence.json", srsly.json_dumps(data, indent=1).encode())
    save(reliability(now, then, name), output / f"{name}-reliability.png")
    save(precision_recall(points, name), output / f"{name}-curve.png")


def overall(stated: dict[str, Stated]) -> str:
    """ECE and Brier score, a row for each way to predict."""
    rows = []
    for name, s in stated.items():
        low, high = ece_interval(s.confidence, s.right)
        chance = perfect_interval(s.confidence)
        rows.append(
            [
                name,
                len(s.confidence),
                f"{sum(s.confidence) / len(s.confidence):.3f}",
                f"{sum(s.right) / len(s.right):.3f}",
                f"{ece(s.confidence, s.right):.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{brier(s.confidence, s.right):.4f}",
                f"{chance[0]:.3f} to {chance[1]:.3f}",
            ]
        )
    head = ["", "found", "mean confidence", "share right", "ECE", "bootstrap, 95%", "Brier"]
    return table([*head, "ECE if perfect"], rows)


def by_label(stated: Stated) -> str:
    """ECE of each label, with its interval and what chance alone would show."""
    rows = []
    for label in sorted(set(stated.labels)):
        s = stated.of(label)
        low, high = ece_interval(s.confidence, s.right, s.bins)
        chance = perfect_interval(s.confidence, s.bins)
        error = ece(s.confidence, s.right, s.bins)
        rows.append(
            [
                label,
                len(s.confidence),
                s.bins,
                f"{sum(s.confidence) / len(s.confidence):.3f}",
                f"{sum(s.right) / len(s.right):.3f}",
                f"{error:.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{chance[0]:.3f} to {chance[1]:.3f}",
                "no" if error <= chance[1] else "yes",
            ]
        )
    head = ["label", "spans", "bins", "mean confidence", "share right", "ECE", "bootstrap, 95%"]
    return table([*head, "ECE if perfect", "differs"], rows)


def mistakes_table(pairs: Pairs) -> str:
    """The surest of the wrong entities, with the words around them."""
    rows = []
    for mistake in mistakes(pairs)[:SHOWN]:
        found = mistake.found
        there = ", ".join(f"`{e.text}` {e.label_}" for e in mistake.gold)
        around = found.doc[max(0, found.start - 7) : found.end + 6].text
        rows.append(
            [
                f"{found._.confidence:.3f}",
                mistake.kind,
                f"`{found.text}` {found.label_}",
                there or "-",
                around.replace("|", "/").replace("\n", " "),
            ]
        )
    return table(["sure", "wrong", "found", "gold", "in"], rows, left=range(1, 5))


def thresholds(points: list[Point]) -> str:
    """Precision, recall and how many are kept at round thresholds."""
    rows = []
    for threshold in THRESHOLDS:
        kept = [point for point in points if point.threshold >= threshold]
        if kept:
            rows.append([f"{threshold:.2f}", *shown(kept[-1])])
    return table(["threshold", "kept", "precision", "recall"], rows)


def wanted(points: list[Point]) -> str:
    """The lowest threshold for each wanted precision."""
    rows = []
    for precision in PRECISIONS:
        point = threshold_for(points, precision)
        found = [f"{point.threshold:.3f}", *shown(point)] if point else ["none", "", "", ""]
        rows.append([f"{precision:.2f}", *found])
    return table(["wanted", "threshold", "kept", "precision", "recall"], rows)


def shown(point: Point) -> list[str]:
    """The cells of one point."""
    return [str(point.kept), f"{point.precision:.3f}", f"{point.recall:.3f}"]


def reliability(now: Stated, then: Stated, name: str) -> Figure:
    """Share that was right against what was stated, before and after."""
    figure, axis = plt.subplots(figsize=(5.5, 5.5))
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="perfect")
    for stated, label, color in (
        (then, "before calibration", "tab:orange"),
        (now, "after", "tab:blue"),
    ):
        found = bins(stated.confidence, stated.right)
        axis.plot(
            [b.confidence for b in found],
            [b.accuracy for b in found],
            marker="o",
            color=color,
            label=f"{label}: ECE {ece(stated.confidence, stated.right):.3f}",
        )
    finish(axis, "stated confidence", "share that is right", f"Entities on {name}")
    axis.set(xlim=(0.3, 1.01), ylim=(0.3, 1.01))
    return figure


def precision_recall(points: list[Point], name: str) -> Figure:
    """Precision and recall against the threshold, and against each other."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    threshold = [point.threshold for point in points]
    for values, label in (
        ([point.precision for point in points], "precision"),
        ([point.recall for point in points], "recall"),
    ):
        left.plot(threshold, values, label=label)
    finish(left, "threshold", "precision, recall", f"Entities kept on {name}")
    steady = [point for point in points if point.kept >= LEAST]
    right.plot([p.recall for p in steady], [p.precision for p in steady], label="all thresholds")
    finish(right, "recall", "precision", "Precision against recall")
    return figure


def finish(axis: Axes, x: str, y: str, title: str) -> None:
    """Names, grid and legend of a plot."""
    axis.set(xlabel=x, ylabel=y, title=title)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left" if x == "threshold" else "best")


def save(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all."""
    figure.tight_layout()
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110)
    plt.close(figure)
    write_bytes(path, buffer.getvalue())
