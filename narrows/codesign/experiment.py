"""An experiment as a TOML file: the log, the designs, seeds, tuning and prices; checked before anything runs."""

from __future__ import annotations

import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from narrows.codesign.cost import Prices
from narrows.codesign.design import Design
from narrows.codesign.designs import named
from narrows.codesign.errors import CodesignError
from narrows.codesign.planning import channels_of_data, designs_of, priced
from narrows.config.refusal import Refusal, validated

READY = Path(__file__).with_name("experiments")
"""Experiments that come with the package, one question a file."""
STRICT = ConfigDict(extra="forbid")


class ExperimentError(CodesignError):
    """An experiment that cannot be run: one line names the file, the setting and the remedy."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    """Where the flow log comes from: one of the three."""

    world: dict[str, Any] | None = None
    """Settings of a generated world's log; see `narrows.codesign.worldlog.FlowWorld`."""
    log: str | None = None
    """A folder that `narrows codesign log` wrote, from the experiment's file on."""
    run: str | None = None
    """As-of of a finished run of the pipeline, such as 2017-11-30."""

    def __post_init__(self) -> None:
        given = [name for name in ("world", "log", "run") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"names {' and '.join(given) or 'no log'}: give one of world, log or run.")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tune:
    """The tuning that every design gets alike, on the validation part."""

    trials: int = Field(default=6, ge=0)
    """Of Optuna, for each design; the first is the design as it is. 0 = none."""
    learning_rate: tuple[float, float] = (0.001, 0.03)
    """From and to, on a logarithmic scale."""
    batch: tuple[int, ...] = (128, 256, 512)
    """The values to choose from."""
    tau: tuple[float, float] = (1.0, 200.0)
    """From and to, on a logarithmic scale; of schemes that have a temperature."""
    tree_learning_rate: tuple[float, float] = (0.03, 0.3)
    """From and to, on a logarithmic scale; of a first stage of trees."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "tau", "tree_learning_rate"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} = [{low}, {high}]: give two numbers above 0, the smaller first.")
        if not self.batch or min(self.batch) < 1:
            raise ValueError(f"batch = {list(self.batch)}: give numbers of 1 or more.")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Budget:
    """What a request may cost to serve; the verdict names the best design within each that is given."""

    flops: float | None = Field(default=None, gt=0, description="a number above 0")
    """Operations a request."""
    cpu_seconds: float | None = Field(default=None, gt=0, description="a number above 0")
    """CPU seconds a thousand requests."""
    money: float | None = Field(default=None, gt=0, description="a number above 0")
    """In the currency of the prices, a billion requests."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Experiment:
    """One question, the designs that answer it, and how they are judged."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="lower-case letters, digits, - and _")]
    """Of the results' folder, the report and MLflow's experiment."""
    question: str = ""
    """What it answers, in a sentence."""
    data: Data
    design: dict[str, Any] = field(default_factory=dict)
    """Settings that all designs have."""
    grid: dict[str, list[Any]] = field(default_factory=dict)
    """Settings with the values that are combined with each other."""
    designs: list[dict[str, Any]] = field(default_factory=list)
    """Further designs, one by one."""
    seeds: int = Field(default=5, ge=1, le=100)
    """How often each design is trained."""
    metric: str = ""
    """What designs are compared by: joint_recall, ndcg or, in a world, value. Empty: value in a world, else joint_recall."""
    tune: Tune = field(default_factory=Tune)
    prices: Prices = field(default_factory=Prices)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        if not self.grid and not self.designs:
            raise ValueError("has no design: add [grid] with lists of settings, or [[designs]].")
        for name, values in self.grid.items():
            if not values:
                raise Refusal(("grid", name), "= []: give one value or more.")
        if self.metric and self.metric not in METRICS:
            raise ValueError(f"metric = {self.metric!r}: give one of {', '.join(METRICS)}.")
        if self.metric == "value" and self.data.world is None and self.data.log is None:
            raise ValueError("metric = 'value': a run has no truth. Give joint_recall or ndcg.")

    @property
    def main_metric(self) -> str:
        """What designs are compared by."""
        return self.metric or ("value" if self.data.world is not None else "joint_recall")


METRICS = ("joint_recall", "ndcg", "value")


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Planned:
    """An experiment whose file was found sound."""

    experiment: Experiment
    file: Path
    designs: tuple[Design, ...]
    names: tuple[str, ...]
    """Of the designs, in which they differ."""
    matched: bool = False
    """Whether designs of equal cost have their sizes; see `narrows.codesign.matching`."""


def read(file: Path, log: Path | None = None) -> Planned:
    """Read and check the file of an experiment.

    Args:
        file: the file, or the name of one that comes with the package, such as ``widths``.
        log: the folder of another flow log than the file's; the experiment is then named after it too, and prices of recall
            channels that it has not are left out.

    Raises:
        ExperimentError: it is no experiment; one line says where and why.
    """
    path = found(file)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}") from error
    try:
        if log is not None:
            values["data"] = {"log": str(log.absolute())}
            values["name"] = f"{values.get('name', '')}-{_word(log.absolute().name)}"
        experiment = validated(Experiment, values)
        channels = channels_of_data(experiment.data, path)
        experiment = priced(experiment, channels, log is not None)
        chosen = designs_of(experiment, channels)
    except Refusal as refusal:
        raise ExperimentError(f"{path}: {refusal}") from refusal
    return Planned(experiment, path, tuple(chosen), tuple(named(chosen)))


def found(file: Path) -> Path:
    """The file itself, or the ready one of this name.

    Raises:
        ExperimentError: there is neither.
    """
    ready = READY / f"{file.name.removesuffix('.toml')}.toml"
    if file.is_file():
        return file
    if len(file.parts) == 1 and ready.exists():
        return ready
    names = ", ".join(sorted(each.stem for each in READY.glob("*.toml")))
    raise ExperimentError(f"there is no file {file}, and no ready experiment of this name: there are {names}")


def _word(name: str) -> str:
    """A folder's name as a part of an experiment's."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
