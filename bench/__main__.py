"""``python -m bench [--asof DAY]``: what the finished run of a day costs and how good its lists are, on this machine.

Reads the store that `make run` filled. Prints Markdown: the text of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from bench.plain import PlainDIN
from narrows.asof import Asof
from narrows.run.narrowing import shards
from narrows.run.runner import Runner
from narrows.settings import load_settings
from stages.rank.place import autocast, device

RUNS = 7


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--asof", type=Asof.parse, default=Asof.parse("2017-11-30"), help="a day that was run")
    parser.add_argument("--file", type=Path, help="the settings file (default: narrows.toml here, if there is one)")
    args = parser.parse_args()
    runner = Runner(load_settings(args.file))
    if not runner.store.current("evaluation", args.asof):
        raise SystemExit(f"nothing to measure: no run as of {args.asof}. Run: make run ASOF={args.asof}")
    flops, bytes_ = machine.matrix_rate(), machine.memory_rate()
    print(
        f"Machine: {machine.processor()}; matrix product {flops / 1e9:.0f} GFLOP/s (float32), memory copy {bytes_ / 1e9:.1f} GB/s.\n"
    )
    if device().type == "cuda":
        flops = machine.matrix_rate("cuda")
        print(f"GPU: matrix product {flops / 1e9:.0f} GFLOP/s (bfloat16); the ranker's network runs there.\n")
    print("| what | median (least to most) | beside it | ratio |\n|---|---|---|---|")
    prerank(runner, args.asof, bytes_)
    rank(runner, args.asof, flops)
    index(runner, args.asof)
    print()
    quality(runner, args.asof)
    spent(runner, args.asof)


def shard_of(runner: Runner, name: str, asof: Asof) -> tuple[Any, Any, Any]:
    """A narrowing room, its model and its first shard."""
    room = runner.room(name)
    tables, size = runner.shard_tables(room, asof), runner.settings.shard_users
    return room, runner.model(name, asof)[0], next(shards(runner.pipeline, room, tables, asof, size))


def prerank(runner: Runner, asof: Asof, bytes_: float) -> None:
    """Pre-rank end to end, beside all trees for all candidates, on features that are already there."""
    from features.lookup import Pairs
    from features.pair import matrix

    room, model, shard = shard_of(runner, "prerank", asof)
    count = shard.candidates.num_rows
    booster = model.ensemble[0]
    rows = matrix(Pairs(shard.users, shard.items, shard.candidates), booster.feature_name())

    whole, trees = machine.alternate(lambda: room.narrow(model, shard), lambda: booster.predict(rows), RUNS)
    line(
        "pre-rank, features included: microseconds a candidate",
        whole.per(count, 1e6),
        f"all trees of one model of the ensemble for all candidates, without features: {trees.per(count, 1e6)}",
        whole.median / trees.median,
    )
    least = rows.nbytes / bytes_ / count * 1e6
    print(
        f"\nThe feature matrix is {rows.shape[1]} float32 columns: writing and reading it once takes {least:.3f} microseconds a candidate.\n"
    )


def rank(runner: Runner, asof: Asof, flops: float) -> None:
    """The ranker end to end, and its network beside the same attention written the plain way."""
    import torch

    room, model, shard = shard_of(runner, "rank", asof)
    count = shard.candidates.num_rows
    whole = machine.repeated(lambda: room.narrow(model, shard), RUNS)
    line("rank, features included: candidates a second", whole.rate(count), "", None)
    plain = PlainDIN(model.nets[0])
    users, length, parts, candidates = 24 if device().type == "cpu" else 1024, room.length, 4, 100
    generator = torch.Generator().manual_seed(0)
    sequence = torch.randint(1, 5, (users, length, parts), generator=generator)
    items = torch.randint(1, 5, (users, candidates, parts), generator=generator)
    dense = torch.randn(users, candidates, model.encoder.dense_size(), generator=generator)
    where = device()
    arguments = (sequence, torch.rand(users, length, generator=generator) * 90, items, dense)
    arguments = tuple(tensor.to(where) for tensor in arguments)
    net = model.nets[0].to(where).eval()
    with torch.inference_mode():
        assert torch.allclose(net(*arguments), plain(*arguments), atol=1e-4)
    with torch.inference_mode(), autocast(where):
        ours, theirs = machine.alternate(
            lambda: machine.finished(net(*arguments)), lambda: machine.finished(plain(*arguments)), RUNS
        )
        work = operations(lambda: net(*arguments))
    pairs = users * candidates
    line(
        f"{room.model} alone ({length} events): candidates a second",
        ours.rate(pairs),
        f"unfactored: {theirs.rate(pairs)}",
        theirs.median / ours.median,
    )
    print(
        f"\nThe network does {work / pairs / 1e3:.0f} kFLOP in matrix products a candidate: {work / ours.median / flops:.0%} of the machine's product rate.\n"
    )


def operations(work: Any) -> float:
    """Floating-point operations of the matrix products in some work."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def index(runner: Runner, asof: Asof) -> None:
    """The FAISS index beside a plain matrix product and a sort."""
    model = runner.model("recall", asof)[0]
    exact = model.proposers["two_tower"].index
    vectors = exact.reconstruct_n(0, exact.ntotal)
    queries = np.ascontiguousarray(vectors[:: max(1, len(vectors) // 2000)][:2000])
    ours, theirs = machine.alternate(
        lambda: exact.search(queries, 33), lambda: np.argpartition(-(queries @ vectors.T), 33)[:, :33], RUNS
    )
    line(
        f"exact index, {exact.ntotal:,} items, {len(queries):,} queries: queries a second",
        ours.rate(len(queries)),
        f"NumPy: {theirs.rate(len(queries))}",
        theirs.median / ours.median,
    )


def line(what: str, value: str, beside: str, ratio: float | None) -> None:
    """A row of the table."""
    print(f"| {what} | {value} | {beside} | {'' if ratio is None else f'{ratio:.2f}'} |")


def quality(runner: Runner, asof: Asof) -> None:
    """The quality of the lists, with intervals, from the evaluation table."""
    table = runner.store.current("evaluation", asof)
    rows = [row for row in table.arrow().to_pylist() if (row["population"], row["k"], row["detail"]) == ("all", 20, "")]  # type: ignore[union-attr]
    print("| list | recall@20 | ndcg@20 |\n|---|---|---|")
    lists = [(row["kind"], row["list"]) for row in rows if row["metric"] == "recall" and row["kind"] != "difference"]
    for kind, name in dict.fromkeys(lists):
        cells = {row["metric"]: row for row in rows if (row["kind"], row["list"]) == (kind, name)}
        texts = [f"{cells[m]['value']:.4f} [{cells[m]['low']:.4f}, {cells[m]['high']:.4f}]" for m in ("recall", "ndcg")]
        print(f"| {kind} {name} | {texts[0]} | {texts[1]} |")
    print()


def spent(runner: Runner, asof: Asof) -> None:
    """What each room of the run cost, as measured when it ran."""
    print("| room | fit s | work s | CPU s | peak MB |\n|---|---|---|---|---|")
    for name in runner.settings.rooms:
        table = runner.store.current(name, asof)
        if table:
            cost, fit = table.meta["cost"], table.meta["notes"].get("fit_cost", {})
            cpu = cost["cpu_seconds"] + fit.get("cpu_seconds", 0)
            peak = max(cost["peak_mb"], fit.get("peak_mb", 0))
            print(f"| {name} | {fit.get('seconds', 0):.1f} | {cost['seconds']:.1f} | {cpu:.1f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
