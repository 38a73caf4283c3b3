"""The flow log of an experiment: generated, read or taken from a run, and kept where all of its processes find it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from narrows.codesign.channels import ChannelError, limits
from narrows.codesign.experiment import ExperimentError, Planned
from narrows.codesign.log import FlowLog, FlowLogError
from narrows.codesign.results import FOLDER, Outcomes, fingerprint_of
from narrows.config.refusal import validated
from narrows.run.fingerprint import digest

Runs = Callable[[str], FlowLog]
"""Makes the flow log of a finished run out of its tables, given its as-of."""


@dataclass(frozen=True)
class Prepared:
    """A flow log on the disk."""

    folder: Path
    fingerprint: str

    def load(self) -> FlowLog:
        """Read it."""
        return FlowLog.load(self.folder)


def prepare(planned: Planned, state: Path, runs: Runs | None = None) -> Prepared:
    """Make the log of an experiment, unless it is there.

    Raises:
        ExperimentError: there is no such log, no way to make one from a run here, or a design names channels that it has not.
    """
    data = planned.experiment.data
    if data.world is not None:
        from narrows.codesign.worldlog import FlowWorld, flow_log

        made = validated(FlowWorld, data.world)
        name = digest(data.world, Outcomes(state).code_of_worlds)
        folder = state / FOLDER / "logs" / name[:16]
        return Prepared(folder if folder.exists() else _kept(flow_log(made), folder), name)
    try:
        if data.log is not None:
            folder = planned.file.parent / data.log
            return Prepared(folder, fingerprint_of(FlowLog.load(folder)))
        if runs is None or data.run is None:
            raise ExperimentError(
                f"{planned.file}: [data] run = {data.run!r} needs the pipeline: use `narrows codesign`"
            )
        log = runs(data.run)
        for design in planned.designs:
            limits(log.channels, design.channels)
    except (FlowLogError, ChannelError) as error:
        raise ExperimentError(f"{planned.file}: {error}") from error
    name = fingerprint_of(log)
    folder = state / FOLDER / "logs" / name[:16]
    return Prepared(folder if folder.exists() else _kept(log, folder), name)


def _kept(log: FlowLog, folder: Path) -> Path:
    """Save a log whole or not at all."""
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    log.save(draft)
    try:
        draft.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(draft, ignore_errors=True)
    return folder
