"""The verdict of an experiment in plain words: what to run, what is as good, and what more compute buys."""

from __future__ import annotations

from narrows.codesign.seeds import Interval
from narrows.codesign.summary import Step, Summary, within


def verdict(summary: Summary) -> list[str]:
    """Sentences, the most important first."""
    best = max(range(len(summary.rows)), key=lambda at: summary.rows[at].quality.value)
    said = []
    for words, kept in within(summary):
        if not kept:
            cheapest = min(range(len(summary.rows)), key=lambda at: summary.rows[at].money)
            said.append(f"No design keeps the budget of {words}; the cheapest is {_name(summary, cheapest)}.")
            continue
        said.append(f"For a budget of {words}: run {_choice(summary, kept)}")
    if not said:
        said.append(f"Run {_choice(summary, list(range(len(summary.rows))))}")
        said += _ladder(summary, best)
    return said + next_unit(summary) + _caution(summary)


def next_unit(summary: Summary) -> list[str]:
    """What the next unit of compute buys in each stage."""
    stages = dict.fromkeys(stage for row in summary.rows for stage in row.stages)
    said = []
    for stage in stages:
        steps = [step for step in summary.steps if step.stage == stage]
        if not steps:
            said.append(
                f"What more compute in {stage} buys, this experiment cannot say: no two designs differ in that alone."
            )
            continue
        step = max(steps, key=lambda step: step.gain.value / max(step.flops, 1e-9))
        said.append(_step(summary, step))
    return said


def signed(value: Interval, digits: int = 4) -> str:
    """``+.0123 [+.0050, +.0201]``."""
    return f"{value.value:+.{digits}f} [{value.low:+.{digits}f}, {value.high:+.{digits}f}]"


def plain(value: Interval, digits: int = 4) -> str:
    """``.8123 [.8050, .8201]``."""
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _choice(summary: Summary, kept: list[int]) -> str:
    """The best of some designs, and the cheapest that cannot be told from it."""
    rows, metric = summary.rows, summary.planned.experiment.main_metric
    best = max(kept, key=lambda at: (rows[at].quality.value, -rows[at].money))
    said = f"{_name(summary, best)}, {metric} {plain(rows[best].quality)} at {_money(summary, rows[best].money)}."
    level = [at for at in kept if at != best and not summary.pairs[best, at].difference.clear]
    cheaper = [at for at in level if rows[at].money < 0.95 * rows[best].money]
    if cheaper:
        at = min(cheaper, key=lambda at: rows[at].money)
        lost = summary.pairs[at, best].difference
        said += (
            f" {_name(summary, at).capitalize()} cannot be told from it ({signed(lost)}) and costs "
            f"{1 - rows[at].money / rows[best].money:.0%} less: {_money(summary, rows[at].money)}."
        )
    elif level:
        names = ", ".join(_name(summary, at) for at in sorted(level, key=lambda at: -rows[at].quality.value)[:4])
        said += f" It cannot be told from {names}."
    return said


def _ladder(summary: Summary, best: int) -> list[str]:
    """What cheaper budgets get: the front."""
    rest = [at for at in summary.front if at != best]
    if not rest:
        return []
    parts = [
        f"{_name(summary, at)} from {_money(summary, summary.rows[at].money)} ({summary.rows[at].quality.value:.4f})"
        for at in rest
    ]
    return ["With less to spend: " + "; ".join(parts) + "."]


def _step(summary: Summary, step: Step) -> str:
    cheap, dear = (_name(summary, at) for at in (step.cheap, step.dear))
    money = _money(summary, abs(step.money))
    says = (
        "buys"
        if step.gain.clear and step.gain.value > 0
        else "costs quality"
        if step.gain.clear
        else "buys nothing that can be told from chance"
    )
    more = f"{step.flops / 1e6:.3g} million operations a request, {'+' if step.money >= 0 else '-'}{money}"
    # a channel's worth is not the stage's doing
    what = "candidates for" if step.setting == "channels" else "compute in"
    return f"More {what} {step.stage} ({cheap} to {dear}: {more}) {says}: {signed(step.gain)}."


def _caution(summary: Summary) -> list[str]:
    seeds = summary.planned.experiment.seeds
    if seeds >= 5:
        return []
    return [f"With {seeds} seed{'s' * (seeds > 1)} the intervals are too narrow: give 5 or more before you decide."]


def _money(summary: Summary, amount: float) -> str:
    return f"{amount:.3g} {summary.planned.experiment.prices.currency} a billion requests"


def _name(summary: Summary, at: int) -> str:
    return f"“{summary.rows[at].name}”"
