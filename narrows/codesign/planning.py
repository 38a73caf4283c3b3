"""From what an experiment's file says to its designs: all that can be checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.codesign.channels import ChannelError, each_in_turn, limits, unknown_channel
from narrows.codesign.design import Design
from narrows.codesign.designs import TREES, canonical, designs
from narrows.codesign.log import FlowLogError, channels_of
from narrows.config.refusal import Refusal, validated

if TYPE_CHECKING:
    from narrows.codesign.experiment import Data, Experiment


def reference(chosen: Sequence[Design]) -> int | None:
    """The first design that is a cascade of networks, whose cost designs of equal cost have; None where there is none."""
    cascades = (at for at, design in enumerate(chosen) if len(design.stages) > 1 and design.prerank != TREES)
    return next(cascades, None)


def designs_of(experiment: Experiment, channels: tuple[str, ...] | None) -> list[Design]:
    """The designs, each once; every setting is checked.

    Args:
        experiment: what the file says.
        channels: those of its log; None = not known before it is made.

    Raises:
        Refusal: a setting is wrong.
    """
    chosen: dict[Design, None] = {}
    crossed = designs(experiment.design, experiment.grid, [])
    listed = designs(experiment.design, {}, experiment.designs)
    for number, settings in enumerate((*crossed, *listed)):
        try:
            for one in each_in_turn(settings, channels or ()):
                made = validated(Design, one)
                if channels is not None:
                    limits(channels, made.channels)
                chosen.setdefault(canonical(made))
        except (Refusal, ChannelError) as error:
            refusal = error if isinstance(error, Refusal) else Refusal(("channels",), f": {error}")
            place = _place(experiment, number - len(crossed), refusal.path)
            raise refusal.below(*place) from None
    _check_precisions(chosen)
    if any(design.cost == "equal" for design in chosen) and reference(list(chosen)) is None:
        raise Refusal(("designs", "cost"), "= 'equal': no design is a cascade of networks whose cost it could have.")
    return list(chosen)


def _place(experiment: Experiment, listed: int, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The table of the file in which a design's wrong setting stands."""
    key = path[0] if path else ""
    if listed >= 0 and key in experiment.designs[listed]:
        return ("designs", listed)
    return ("grid",) if key in experiment.grid or not experiment.design else ("design",)


def _check_precisions(chosen: Mapping[Design, None]) -> None:
    from narrows.codesign.compress import OF_TREES, PRECISIONS

    for design in chosen:
        if design.precision not in PRECISIONS:
            raise Refusal(("grid", "precision"), f"= {design.precision!r}: give one of {', '.join(PRECISIONS)}.")
        trees = TREES in (getattr(design, stage) for stage in design.stages)
        if trees and design.precision not in OF_TREES:
            raise Refusal(
                ("grid", "precision"),
                f"= {design.precision!r} is not for trees: give {' or '.join(OF_TREES)} with {TREES}.",
            )


def priced(experiment: Experiment, channels: tuple[str, ...] | None, of_other_log: bool) -> Experiment:
    """The experiment, its prices of recall channels checked.

    Raises:
        Refusal: a channel has a price that the log does not know.
    """
    prices = experiment.prices.channels
    unknown = [name for name in prices if channels is not None and name not in channels]
    if unknown and not of_other_log:
        raise Refusal(("prices", "channels"), f": {unknown_channel(unknown[0], channels or ())}")
    known = {name: price for name, price in prices.items() if name not in unknown}
    return replace(experiment, prices=replace(experiment.prices, channels=known))


def channels_of_data(data: Data, path: Path) -> tuple[str, ...] | None:
    """Check where the log comes from; the recall channels that it knows, None where it is not made yet.

    Raises:
        Refusal: a setting of the world is wrong, or there is no such log.
    """
    if data.world is not None:
        from narrows.codesign.worldlog import FlowWorld

        try:
            return tuple(validated(FlowWorld, data.world).channels)
        except Refusal as refusal:
            raise refusal.below("data", "world") from None
    if data.log is None:
        return None
    if not (path.parent / data.log).is_dir():
        raise Refusal(("data", "log"), f"= {data.log!r}: there is no such folder beside {path.name}.")
    try:
        return channels_of(path.parent / data.log)
    except FlowLogError as error:
        raise Refusal(("data", "log"), f": {error}.") from None
