"""The tuning that every design gets alike: so many trials of Optuna over learning rate, batch and temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from narrows.codesign.design import Design
from narrows.codesign.designs import JOINT, SINGLE, TREES
from narrows.codesign.experiment import Tune
from narrows.codesign.losses import WITHOUT_TAU

if TYPE_CHECKING:
    from optuna import Trial

WITH_TEMPERATURE = (JOINT, "distilled", "survival")


def tuned(design: Design, tune: Tune, judge: Callable[[Design], float]) -> Design:
    """The design with the settings that did best on the validation part.

    The first trial is the design as it is, the others are drawn by the tree-structured Parzen estimator (Bergstra et
    al. 2011) with a fixed seed: the same trials come again after a kill, and whoever keeps their results repeats none.

    Args:
        design: as the experiment gives it.
        tune: what to try, and how often.
        judge: trains a design and says how good it is on the validation part; larger is better.
    """
    if tune.trials < 1:
        return design
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    startup = min(10, max(2, tune.trials // 2))
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=startup)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    best = judge(design), design  # it may lie outside of what is drawn from, so Optuna is not told
    for _ in range(tune.trials - 1):
        trial = study.ask()
        tried = replace(design, **_drawn(design, tune, trial))
        value = judge(tried)
        study.tell(trial, value)
        if value > best[0]:
            best = value, tried
    return best[1]


def _drawn(design: Design, tune: Tune, trial: Trial) -> dict[str, Any]:
    """The settings of a trial: those that mean something for the design."""
    drawn: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", *tune.learning_rate, log=True),
        "batch": trial.suggest_categorical("batch", tune.batch),
    }
    if design.scheme in WITH_TEMPERATURE and not (design.scheme == JOINT and design.loss in WITHOUT_TAU):
        drawn["tau"] = trial.suggest_float("tau", *tune.tau, log=True)
    if design.scheme != SINGLE and TREES in (getattr(design, stage) for stage in design.stages):
        drawn["tree_learning_rate"] = trial.suggest_float("tree_learning_rate", *tune.tree_learning_rate, log=True)
    return drawn
