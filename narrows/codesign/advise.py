"""The rule that predicts, from the signs of a log, which scheme will win; it was fitted on a grid of generated worlds.

A rule is a table of numbers in JSON: for each scheme a ridge regression of its lead over independent training (the ratio of
the values, less 1) on the standardised signs, and the spread of its errors on worlds that it was not fitted on. From these
come the probabilities of winning: leads are drawn around the predictions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from narrows.codesign.errors import CodesignError
from narrows.codesign.log import Array
from narrows.codesign.signs import SIGNS, vector
from narrows.config.refusal import validated

RULE = Path(__file__).with_name("rule.json")
BASE, DEARER = "independent", "single"
"""What leads are over; and the scheme that serves at another cost, so that it is no winner at equal cost."""
DRAWS = 4000
FAR = 3.0
"""Standard deviations from the fitted worlds' mean beyond which a sign is out of the rule's reach."""


@dataclass(frozen=True)
class Rule:
    """What was fitted, and how good it was on worlds that it was not fitted on."""

    signs: tuple[str, ...]
    schemes: tuple[str, ...]
    """Besides independent training."""
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    """[signs], of the fitted worlds."""
    intercept: tuple[float, ...]
    """[schemes]"""
    slope: tuple[tuple[float, ...], ...]
    """[schemes][signs]"""
    error: tuple[float, ...]
    """[schemes]: standard deviation of the lead about the prediction, of worlds left out."""
    worlds: int
    """Of the fit."""
    tested: int
    """Worlds of the test: fresh seeds, and switches at values that the fit has not."""
    right: float
    """Share of the tested worlds whose winner it named."""
    commonest: float
    """The same of always naming the winner that was commonest in the fit."""
    note: str = ""

    def leads(self, values: Mapping[str, float]) -> Array:
        """float64 [schemes]: the predicted leads over independent training."""
        standard = (vector(dict(values)) - np.array(self.mean)) / np.array(self.spread)
        return np.asarray(np.array(self.intercept) + np.array(self.slope) @ standard)


@dataclass(frozen=True)
class Advice:
    """What a rule says of a log."""

    scheme: str
    """The likeliest winner at equal cost."""
    probability: float
    """That it wins."""
    leads: dict[str, float]
    """Predicted, over independent training."""
    probabilities: dict[str, float]
    """Of winning, of each scheme at equal cost."""
    beyond: tuple[str, ...]
    """Signs that lie outside of the worlds of the fit: what the rule says is a guess."""


def advice(rule: Rule, values: Mapping[str, float], seed: int = 0) -> Advice:
    """Apply a rule to the signs of a log."""
    leads = rule.leads(values)
    random = np.random.default_rng(seed)
    drawn = leads + np.array(rule.error) * random.normal(size=(DRAWS, len(leads)))
    equal = _equal(rule.schemes)
    won = np.argmax(np.column_stack([np.zeros(DRAWS), drawn[:, equal]]), axis=1)
    share = np.bincount(won, minlength=len(equal) + 1) / DRAWS
    names = (BASE, *(rule.schemes[at] for at in equal))
    best = int(np.argmax(share))
    standard = (vector(dict(values)) - np.array(rule.mean)) / np.array(rule.spread)
    beyond = tuple(name for name, each in zip(rule.signs, standard, strict=True) if abs(each) > FAR)
    predicted = {BASE: 0.0, **dict(zip(rule.schemes, map(float, leads), strict=True))}
    return Advice(names[best], float(share[best]), predicted, dict(zip(names, map(float, share), strict=True)), beyond)


def fit(rows: Array, leads: Array, schemes: Sequence[str], strength: float = 3.0) -> Rule:
    """Fit a rule; ``tested``, ``right`` and ``commonest`` are for `tested` to fill.

    Args:
        rows: [worlds, signs]
        leads: [worlds, schemes], the ratio of each scheme's value to that of independent training, less 1.
        schemes: besides independent training.
        strength: of the ridge penalty, in worlds.
    """
    mean, spread = rows.mean(0), np.maximum(rows.std(0), 1e-6)
    standard = (rows - mean) / spread
    slope = _ridge(standard, leads - leads.mean(0), strength)
    folds = np.arange(len(rows)) % min(5, len(rows))
    errors = np.zeros_like(leads)
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        if not inside.any():
            continue
        centre = leads[inside].mean(0)
        part = _ridge(standard[inside], leads[inside] - centre, strength)
        errors[outside] = leads[outside] - centre - standard[outside] @ part.T
    error = np.sqrt((errors**2).mean(0))
    return Rule(
        tuple(SIGNS), tuple(schemes), _plain(mean), _plain(spread), _plain(leads.mean(0)), tuple(map(_plain, slope)),
        _plain(error), len(rows), 0, 0.0, 0.0,
    )  # fmt: skip


def calls(rule: Rule, rows: Array) -> list[str]:
    """The winner that the rule names for each world, by the greatest predicted lead; [worlds]."""
    return winners(np.stack([rule.leads(dict(zip(SIGNS, row, strict=True))) for row in rows]), rule.schemes)


def winners(leads: Array, schemes: Sequence[str]) -> list[str]:
    """The winner of each world at equal cost, by the leads [worlds, schemes]; [worlds]."""
    equal = _equal(schemes)
    names = (BASE, *(schemes[at] for at in equal))
    return [names[int(np.argmax([0.0, *row[equal]]))] for row in leads]


def share_right(said: Sequence[str], true: Sequence[str]) -> tuple[float, float, float]:
    """The share of right calls with its 95% interval (Wilson 1927)."""
    count, right = len(true), sum(one == other for one, other in zip(said, true, strict=True))
    if not count:
        return float("nan"), 0.0, 1.0
    z, share = 1.959963984540054, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return share, float(middle - half), float(middle + half)


def save(rule: Rule, file: Path = RULE) -> None:
    """Write a rule as JSON."""
    file.write_text(json.dumps(asdict(rule), indent=1) + "\n", encoding="utf-8")


def load(file: Path = RULE) -> Rule:
    """Read a rule.

    Raises:
        CodesignError: it is not there, damaged, or of other signs.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        rule = validated(Rule, values)
    except (OSError, ValueError) as error:
        raise CodesignError(f"{file} holds no rule ({error}): fit one with python -m bench.codesign_rule") from error
    if rule.signs != tuple(SIGNS):
        raise CodesignError(f"{file} was fitted on other signs: fit it again with python -m bench.codesign_rule")
    return rule


def _equal(schemes: Sequence[str]) -> list[int]:
    """The places of the schemes that serve at the cost of independent training."""
    return [at for at, name in enumerate(schemes) if name != DEARER]


def _ridge(rows: Array, targets: Array, strength: float) -> Array:
    """[targets, signs]: slopes of centred targets."""
    left = rows.T @ rows + strength * np.eye(rows.shape[1])
    return np.asarray(np.linalg.solve(left, rows.T @ targets).T)


def _plain(values: Array) -> tuple[float, ...]:
    return tuple(round(float(each), 8) for each in values)
