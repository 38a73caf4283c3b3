"""``python -m bench.codesign_room``: how much a better pre-ranker could be worth in the generated world at its default difficulty.

The independent scheme is trained once a seed; then its pre-ranker is replaced by none (every candidate comes to its ranker) and by the
exact value of every candidate (no pre-ranker keeps better ones for that list), and its ranker likewise. What a scheme can gain by a
pre-ranker alone lies below the second row. Prints Markdown, a part of docs/experiments.md.
"""

from __future__ import annotations

import argparse

import numpy as np

from bench import machine
from narrows.codesign.design import Design
from narrows.codesign.evaluate import compare, evaluate
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.run import Parts, run
from narrows.codesign.worldlog import FlowWorld, flow_log


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.codesign_room", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs=2, default=(30, 20))
    parser.add_argument("--prerank", default="two_tower")
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--requests", type=int, default=20_000)
    args = parser.parse_args()
    design = Design(
        widths=tuple(args.widths), prerank=args.prerank, learning_rate=args.learning_rate, epochs=args.epochs
    )
    log = flow_log(FlowWorld(requests=args.requests))
    parts = Parts.of(log)
    found: dict[str, list[Array]] = {}
    for seed in range(1, args.seeds + 1):
        for name, value in variants(design, log, parts, seed).items():
            found.setdefault(name, []).append(value)
        print(f"seed {seed}", flush=True)
    print(f"\nMachine: {machine.processor()}. {len(log):,} requests, widths {design.widths}, {args.seeds} seeds.\n")
    print("| cascade | exact value | ratio to independent | by seed |\n|---|---|---|---|")
    base, user = np.mean(found["independent"], 0), parts.test.log.user
    for name, values in found.items():
        one = compare(np.mean(values, 0), base, user)
        seeds = " ".join(
            f"{each.mean() / of.mean():.4f}" for each, of in zip(values, found["independent"], strict=True)
        )
        print(
            f"| {name} | {np.mean(values):.4f} | {one.ratio:.4f} [{one.ratio_low:.4f}, {one.ratio_high:.4f}] | {seeds} |"
        )


def variants(design: Design, log: FlowLog, parts: Parts, seed: int) -> dict[str, Array]:
    """By cascade the exact value of each request of the test part."""
    first, last = (model.score(parts.test) for model in run(design, log, seed, parts=parts).models)
    truth, test = parts.test.log.value, parts.test.log
    assert truth is not None
    wide = (int(test.sizes.max()), design.widths[1])

    def value(pair: tuple[Array, Array], widths: tuple[int, ...] = design.widths) -> Array:
        return evaluate(test, design.stages, pair, widths, seed).by_request["value"]

    return {
        "independent": value((first, last)),
        "its ranker, the truth as pre-ranker": value((truth, last)),
        "its ranker, no pre-ranker": value((last, last), wide),
        "its pre-ranker, the truth as ranker": value((first, truth)),
        "its pre-ranker alone": value((first, first)),
        "the truth as both": value((truth, truth)),
    }


if __name__ == "__main__":
    main()
