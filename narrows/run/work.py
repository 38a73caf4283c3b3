"""Making partitions: transform tables in Spark or Arrow, narrow candidates shard by shard, each into a draft."""

from __future__ import annotations

import inspect
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.columns import USER
from narrows.engine.cost import Cost, meter
from narrows.engine.memory import give_back, workers
from narrows.run import executors, fused
from narrows.run.fingerprint import merged
from narrows.run.narrowing import check, flow, shards, user_shards
from narrows.run.publish import Draft
from narrows.run.requests import audience, sample
from narrows.stage import NarrowingStage, Output, Table, TableStage
from narrows.store.table import REQUESTS, part_name
from narrows.store.write import write_file, write_ranged, write_table

if TYPE_CHECKING:
    from narrows.run.runner import Runner

LOG = logging.getLogger(__name__)
Work = tuple[Asof, str, dict[str, Any]]
"""A partition that is to be made: its as-of, its fingerprint, and the tables that it reads."""


def transform(runner: Runner, room: TableStage, todo: list[Work]) -> dict[Asof, Table]:
    """Partitions of a table room; of one that has ``transform_several`` the first, and those after it that it makes."""
    method = getattr(room, "transform_several", None) or room.transform  # type: ignore[attr-defined]
    several = "asofs" in inspect.signature(method).parameters
    if todo and runner.asks_spark(room.name):
        runner.forget_models()  # Spark needs the memory; they load in a second
        if runner.overlaps and _is_small(runner, todo):
            runner.end_session()  # rooms do without for the rest of the line, and have a gigabyte more
        give_back()
    for group in [todo] if several else [[one] for one in todo]:
        runner.publisher.get_ready()
        asofs = [asof for asof, _, _ in group]
        span = f"{asofs[0]}" if len(asofs) == 1 else f"{asofs[0]} to {asofs[-1]} ({len(asofs)} partitions)"
        LOG.info("  %-16s %s  working", room.name, span)
        with meter() as cost:
            tables = merged([tables for _, _, tables in group])
            made = method(**runner.arguments(method, tables, asofs[-1], asofs))
            group = [one for one in group if not isinstance(made, dict) or one[0] in made]
            drafts = {asof: runner.store.draft(room.name, asof, fingerprint) for asof, fingerprint, _ in group}
            said = _save(room, made, drafts, several)
        del made
        runner.forget_rows()
        give_back()
        share = Cost(cost.seconds / len(group), cost.cpu_seconds / len(group), cost.peak_mb)
        for asof, fingerprint, tables in group:
            notes, shared = said[asof]
            draft = _draft(runner, room, asof, drafts[asof], fingerprint, tables, share, notes)
            runner.publisher.audit(replace(draft, shared=shared))
    return _finish(runner, room) if runner.waits(room) else runner.publisher.unfinished(room.name)


Said = tuple[dict[str, Any], list[Path]]
"""Of a draft: its notes, and the files of its rows that an earlier partition has."""


def _save(room: TableStage, made: Any, drafts: dict[Asof, Path], ranged: bool) -> dict[Asof, Said]:
    """Write what a room made into its drafts: outputs by as-of, or one output, whose rows are of all as-ofs if it is ``ranged``."""
    if isinstance(made, dict):
        return {asof: _save_one(room, made[asof], drafts[asof]) for asof in reversed(made)}
    last = list(drafts.values())[-1]
    output = made if isinstance(made, Output) else Output(made)
    if ranged:
        write_ranged(output.data, drafts)
    return dict.fromkeys(drafts, _save_one(room, output, last, ranged))


def _save_one(room: TableStage, output: Output, draft: Path, written: bool = False) -> Said:
    if not written:
        write_table(output.data, draft / "data", [room.partitioned_by] if room.partitioned_by else [])
    for name, data in output.side_tables.items():
        write_table(data, draft / name)
    return output.notes, list(output.data.shared()) if hasattr(output.data, "shared") else []


def _is_small(runner: Runner, todo: list[Work]) -> bool:
    from narrows.engine.here import fits

    log = todo[-1][2].get(runner.source_room)
    return isinstance(log, Table) and fits(log)


def narrow(runner: Runner, room: NarrowingStage, todo: list[Work], model: Any = None) -> dict[Asof, Table]:
    """Partitions of a narrowing room: of everybody, or of the flow sample.

    In the last of the narrowing rooms the users outside the sample follow, through all rooms in memory.
    """
    done: dict[Asof, Table] = {}
    runner.end_session()
    for asof, fingerprint, tables in todo:
        runner.publisher.get_ready()
        fitted = model or (runner.model(room.name, asof) if hasattr(room, "fit") else (None, None))
        LOG.info("  %-16s %s  narrowing", room.name, asof)
        with meter() as cost:
            draft, received, kept, parts = runner.store.draft(room.name, asof, fingerprint), 0, 0, 0
            requests = sample(runner, room, tables, asof)
            who = audience(runner, tables[room.users]) if requests is None else ds_field(USER).isin(requests[USER])
            for shard in shards(runner.pipeline, room, tables, asof, runner.settings.shard_users, who):
                narrowed = check(room, shard, room.narrow(fitted[0], shard))
                received += narrowed.kept.num_rows + narrowed.removed.num_rows
                kept += narrowed.survivors.num_rows
                write_file(flow(narrowed, requests), draft / "data" / part_name(parts))
                parts += 1
            del shard, narrowed
            notes = {"received": received, "kept": kept, **(fitted[1].notes if fitted[1] else {})}
            if requests is not None:
                write_table(requests, draft / REQUESTS)
                notes["flow_users"] = requests.num_rows
                if room.name == runner.pipeline.narrowing[-1] and not runner.making_past:
                    notes["fused"] = _others(runner, room, tables, asof, requests, draft / "data", parts)
        give_back()
        if fitted[1] and fitted[1].asof == asof:  # an earlier model was paid for then
            notes["fit_cost"] = fitted[1].meta["cost"]
        runner.publisher.audit(_draft(runner, room, asof, draft, fingerprint, tables, cost, notes))
        done |= _finish(runner, room, but=1)  # one is audited while the next is made
    return done | _finish(runner, room)


def _others(
    runner: Runner, room: NarrowingStage, tables: dict[str, Table], asof: Asof, requests: Any, folder: Path, first: int
) -> fused.Counts:
    """Narrow who is not in the flow sample, here or on Spark's executors; see ``fused.run``."""
    users, settings = tables[room.users], runner.settings
    who, served = ~ds_field(USER).isin(requests[USER]), audience(runner, users)
    rooms = [runner.room(name) for name in runner.pipeline.narrowing]
    models = [(each.name, runner.model_table(each.name, asof) if hasattr(each, "fit") else None) for each in rooms]
    work = fused.Pass(settings, models, tables[room.items], requests, asof, folder)
    who = who if served is None else who & served
    runner.forget_models()  # each process loads its own
    if settings.engine.narrow == "spark":
        return executors.run(runner.session, work, users, who, settings.shard_users, first)
    rest = user_shards(users, settings.shard_users, who)
    return fused.run(work, rest, first, workers(settings.engine, settings.shard_users))


def ds_field(name: str) -> Any:
    """A column of a dataset filter."""
    import pyarrow.dataset as ds

    return ds.field(name)


def _draft(
    runner: Runner, room: Any, asof: Asof, path: Any, fingerprint: str, tables: Any, cost: Cost, notes: Any
) -> Draft:
    swap = None
    if hasattr(room, "publish"):
        swap = partial(room.publish, **runner.arguments(room.publish, tables, asof))
    return Draft(room, asof, path, fingerprint, runner.recipe(room.name), tables, cost, notes, swap, runner.making_past)


def _finish(runner: Runner, room: Any, but: int = 0) -> dict[Asof, Table]:
    if runner.log and not runner.making_past:
        runner.log.open()
    done = runner.publisher.finish(but)
    return {asof: table for asof, table in done.items() if table.name == room.name}  # not of the room before
