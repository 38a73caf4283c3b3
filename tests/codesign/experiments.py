"""Small experiments for tests, and a trainer that trains nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from narrows.codesign.design import Design
from narrows.codesign.execute import execute
from narrows.codesign.experiment import Planned, read
from narrows.codesign.models import stage_model
from narrows.codesign.run import Outcome, Parts
from narrows.codesign.summary import Summary, summarise
from narrows.codesign.train import Neural
from tests.codesign.small_log import small_log

TEXT = """
name = "small"
question = "Which is better?"
seeds = 3
metric = "ndcg"
[data]
log = "log"
[grid]
scheme = ["independent", "joint"]
widths = [[6, 3], [4, 3]]
[[designs]]
scheme = "single"
[tune]
trials = 3
batch = [8, 16]
[budget]
money = 1e9
"""
GOOD = {"independent": 0.5, "distilled": 0.55, "survival": 0.55, "joint": 0.7, "single": 0.6}
"""What each scheme's NDCG is around."""


def written(folder: Path, text: str = TEXT, truth: bool = True) -> Path:
    """A file of an experiment with its log beside it."""
    small_log(requests=120, users=20, truth=truth).save(folder / "log")
    file = folder / "small.toml"
    file.write_text(text, encoding="utf-8")
    return file


class Trainer:
    """Gives untrained models and metrics that depend on the scheme, the widths and the learning rate; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Design, int, str]] = []

    def __call__(self, design: Design, log: object, seed: int, *, judge: str, parts: Parts) -> Outcome:
        self.calls.append((design, seed, judge))
        part = parts.test if judge == "test" else parts.validation
        random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        models = tuple(
            Neural(stage_model(name, part.inputs, ranker=name == "din", embedding_size=4, hidden=(8, 4)))
            for name in ("linear", "two_tower", "din")[-len(design.stages) :]
        )
        middle = (
            GOOD[design.scheme]
            + 0.01 * design.widths[0] * (len(design.stages) > 1)
            - abs(np.log(design.learning_rate / 0.01)) * 0.01
        )
        ndcg = middle + 0.02 * random.normal(size=len(part.log)) + 0.01 * np.sin(part.log.user)
        ndcg[0] = np.nan
        by_request = {"ndcg": ndcg, "joint_recall": ndcg - 0.1, "value": 2 * ndcg}
        metrics = {name: float(np.nanmean(values)) for name, values in by_request.items()}
        metrics |= {
            "requests": float(len(ndcg)),
            "labelled": float(len(ndcg) - 1),
            "oracle_share": 0.5,
            "auc_first": np.nan,
        }
        for stage in (*(["channels"] if design.channels else []), *design.stages):
            metrics |= {f"survival_{stage}": 0.8, f"regret_{stage}": 0.1}
        return Outcome(metrics, by_request, part.log.user, 1.5, models)


def planned(folder: Path, text: str = TEXT) -> Planned:
    """The experiment of a text."""
    return read(written(folder, text))


def summary(folder: Path, text: str = TEXT) -> Summary:
    """What a small experiment found."""
    made = planned(folder, text)
    return summarise(made, execute(made, folder / "var", train=Trainer()))
