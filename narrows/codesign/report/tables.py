"""The tables of the report: cost of each stage, what more compute bought, settings, and the experiment's file."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from narrows.codesign.planning import reference
from narrows.codesign.summary import Row, Summary
from narrows.codesign.verdict import signed
from narrows.markup import section, table, tag

SETTINGS = ("learning_rate", "batch", "tau", "tree_learning_rate")


def costs(summary: Summary) -> Markup:
    """What each stage costs."""
    currency = summary.planned.experiment.prices.currency
    rows: list[tuple[Any, ...]] = []
    for at, row in enumerate(summary.rows):
        for stage in row.stages:
            rows.append((f"{at + 1}. {row.name}", stage, *_stage(row, stage)))
    stages = table(
        "A stage's work: operations, bytes moved and sent are those of a request",
        ["design", "stage", "candidates", "operations", "CPU s a thousand (least to most)", "GPU s a thousand", "MB moved", "KB sent to it", "model MB", "peak MB"],
        rows,
        tuple(range(2, 10)),
    )  # fmt: skip
    training = table(
        "Training, mean of the seeds",
        ["design", "seconds", "CPU seconds", "peak MB of the process", currency],
        [
            (f"{at + 1}. {row.name}", *(f"{row.metrics[name]:,.1f}" for name in ("train_seconds", "train_cpu_seconds", "train_peak_mb")), f"{row.training_money:.2g}")
            for at, row in enumerate(summary.rows)
        ],
        (1, 2, 3, 4),
    )  # fmt: skip
    prices = summary.planned.experiment.prices
    note = tag(
        "p",
        f"Prices: {prices.cpu_hour:g} {currency} an hour of a CPU core, {prices.gpu_hour:g} an hour of a GPU, {prices.gb:g} a GB sent to a "
        "stage. Operations of networks are those of their matrix products, of trees their comparisons: seconds compare the two. "
        "Bytes moved are those that each operator reads and writes by itself.",
    )
    said = matched(summary)
    equal = tag("ul", *(tag("li", sentence) for sentence in said)) if said else None
    asked = tag("p", channels(summary)) if prices.channels else None
    return section("cost", "What it costs", *(part for part in (equal, note, asked, stages, training) if part))


def matched(summary: Summary) -> list[str]:
    """What designs of equal cost were made of, and how equal they are."""
    at = reference(summary.planned.designs)
    if at is None:
        return []
    cascade = summary.rows[at]
    target = cascade.metrics["flops"]
    return [
        f"“{row.name}” was made as dear as “{cascade.name}”: embeddings of {row.design.embedding_size}, hidden layers "
        f"{'-'.join(map(str, row.design.layers(row.stages[-1])))}, {row.metrics['flops']:,.0f} operations a request against "
        f"{target:,.0f} ({row.metrics['flops'] / target - 1:+.1%})."
        for row in summary.rows
        if row.design.cost == "equal"
    ]


def channels(summary: Summary) -> str:
    """What asking the recall channels costs."""
    given = ", ".join(f"{name} {each:g}" for name, each in summary.planned.experiment.prices.channels.items())
    return f"CPU seconds a thousand requests of the recall channels, as the file gives them, are in the price of a design that asks them: {given}."


def next_unit(summary: Summary) -> Markup:
    """What more compute bought."""
    metric, currency = summary.planned.experiment.main_metric, summary.planned.experiment.prices.currency
    title = "What the next unit of compute buys"
    if not summary.steps:
        said = "No two designs differ in one setting that costs one stage more: an experiment over widths or sizes would say it."
        return section("next", title, tag("p", said))
    rows = [
        (
            step.stage, f"{summary.rows[step.cheap].name} → {summary.rows[step.dear].name}", f"{step.flops:,.0f}", f"{step.money:+.3g}",
            signed(step.gain), f"{step.gain.value / (step.flops / 1e6):+.5f}", "yes" if step.gain.clear else "no",
        )
        for step in summary.steps
    ]  # fmt: skip
    header = [
        "stage",
        "from → to",
        "more operations a request",
        f"{currency} more a billion requests",
        f"{metric} gained [95%]",
        "a million operations",
        "can be told from chance",
    ]
    return section("next", title, table("Steps between designs that differ in one setting", header, rows, (2, 3, 4, 5)))


def designs(summary: Summary) -> Markup:
    """The settings as they were tuned."""
    shown = list(SETTINGS)
    rows = [
        (f"{at + 1}. {row.name}", *(_value(row.tuned.get(name)) for name in shown))
        for at, row in enumerate(summary.rows)
    ]
    whole = table(
        "What tuning chose for each design",
        ["design", *(name.replace("_", " ") for name in shown)],
        rows,
        tuple(range(1, len(shown) + 1)),
    )
    return section("designs", "Designs", whole)


def source(summary: Summary) -> Markup:
    """The experiment as its file gives it."""
    text = summary.planned.file.read_text(encoding="utf-8")
    return section(
        "file",
        "The experiment's file",
        tag("pre", tag("code", text), class_="wide", tabindex="0", role="region", aria_label="The experiment's file"),
    )


def _stage(row: Row, stage: str) -> tuple[str, ...]:
    metrics = {
        name.removesuffix(f"_{stage}"): value for name, value in row.metrics.items() if name.endswith(f"_{stage}")
    }
    cpu = f"{metrics['cpu_seconds']:.3g} ({metrics['cpu_seconds_low']:.3g} to {metrics['cpu_seconds_high']:.3g})"
    return (
        f"{metrics['candidates']:,.1f}", f"{metrics['flops']:,.0f}", cpu, f"{metrics['gpu_seconds']:.3g}", f"{metrics['moved_bytes'] / 1e6:.3g}",
        f"{metrics['sent_bytes'] / 1e3:.3g}", f"{metrics['parameter_bytes'] / 1e6:.3g}", f"{metrics['peak_bytes'] / 1e6:.3g}",
    )  # fmt: skip


def _value(value: Any) -> str:
    if value is None:
        return "its default"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
