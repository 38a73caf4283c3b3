"""``python -m bench.allocation``: what do widths by request (DCAF) gain over fixed ones, in worlds and on a flow log?

The ranker sees a signal that the pre-ranker does not, and learns from all candidates: else width buys nothing to begin with.
Trains an independent cascade on the oldest requests, learns value curves and the price of compute on the validation part, and
serves the test part. Costs are the candidates that reach the ranker. Prints Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from narrows.codesign.budgets import Comparison, Stages, compared
from narrows.codesign.design import Design
from narrows.codesign.log import FlowLog
from narrows.codesign.run import Parts, run
from narrows.codesign.worldlog import FlowWorld, flow_log
from narrows.world.settings import World

WIDTHS = (10, 15, 20, 30, 45, 60, 90)
BUDGETS = (15.0, 20.0, 30.0, 45.0)


def of_log(log: FlowLog, design: Design, seed: int) -> list[Comparison]:
    """Train, learn and compare on one log."""
    parts = Parts.of(log)
    models = run(design, log, seed, parts=parts).models
    both = [Stages(part.log, *(model.score(part) for model in models)) for part in (parts.validation, parts.test)]
    positions = design.widths[-1]
    discount = 1 / np.log2(np.arange(2, positions + 2)) if log.examined is None else log.examined[:positions]
    return compared(both[0], both[1], WIDTHS, np.array(WIDTHS, float), BUDGETS, discount)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.allocation", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--log", type=Path, metavar="DIR", help="a flow log instead of worlds")
    args = parser.parse_args()
    design = Design(widths=(30, 10), batch=64, learning_rate=0.01, exposure="all")
    print(
        "| seed | budget | spent | fixed | widths by request [95%] | of what hindsight gains | compute saved at equal value |\n|---|---|---|---|---|---|---|"
    )
    for seed in range(args.seeds):
        if args.log:
            log = FlowLog.load(args.log)
        else:
            world = World(users=max(100, args.requests // 5), items=1500, days=60, sessions_per_day=0.5, seed=seed + 1)
            log = flow_log(
                FlowWorld(
                    requests=args.requests,
                    world=world,
                    seed=seed + 1,
                    recalled=120,
                    keep=(90, 30, 10),
                    sample=0,
                    gap="signal",
                    signal=0.6,
                )
            )
        for each in of_log(log, design, seed):
            gain, most = each.adaptive, each.hindsight - each.fixed
            saved = f"{each.saved:+.0%}" if each.saved == each.saved else "never as good"
            print(
                f"| {seed} | {each.budget:g} | {each.spent:.1f} | {each.fixed:.4f} | {gain.value / each.fixed:+.2%} "
                f"[{gain.low / each.fixed:+.2%}, {gain.high / each.fixed:+.2%}] | {gain.value / most if most > 0 else 0:.0%} | {saved} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
