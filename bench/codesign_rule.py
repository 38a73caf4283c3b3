"""``python -m bench.codesign_rule DIR``: fit the rule of `narrows codesign advise` on a grid of generated worlds.

Each world is drawn from the switches (noise, feature gap, selection, catalogue, candidates, positives, drift, capacity), its
schemes are trained with equal settings and seeds, and its signs and values are kept in DIR, one JSON file a world: a killed
run goes on, and a longer one adds worlds. Then the rule is fitted, and tested on worlds with fresh seeds and switches at
values that the fit has not: how often it is right, and what following it is worth. ``--save`` writes it to
narrows/codesign/rule.json. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from narrows.bootstrap import intervals
from narrows.codesign import advise
from narrows.codesign.design import Design
from narrows.codesign.experiment import Tune
from narrows.codesign.run import Parts, run
from narrows.codesign.signs import SIGNS, signs, vector
from narrows.codesign.tuning import tuned
from narrows.codesign.worldlog import FlowWorld, flow_log
from narrows.store.partitions import write_json
from narrows.world.settings import World

SCHEMES = ("distilled", "survival", "joint", "single")
SWITCHES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "noise": ((0.2, 0.8, 1.6), (0.5, 1.2)),
    "gap": (("none", "signal", "pair"), ("none", "signal", "pair")),
    "signal": ((0.3, 0.6), (0.45,)),
    "popular": ((0.0, 0.3, 1.0), (0.15, 0.6)),
    "exploration": ((0.02, 0.2), (0.1,)),
    "drift": ((0.0, 0.6), (0.3,)),
    "views": ((0.03, 0.15), (0.07,)),
    "items": ((400, 1600), (800,)),
    "recalled": ((60, 150), (100,)),
    "first": (
        (("linear", (8,)), ("two_tower", (32, 16)), ("mlp", (32, 16))),
        (("two_tower", (16, 8)), ("mlp", (16, 8))),
    ),
}
"""Values of the fit, and those of the test."""


def drawn(number: int, test: bool, requests: int) -> tuple[FlowWorld, Design, dict[str, Any]]:
    """A world, its models and its switches; the number decides all of it."""
    random = np.random.default_rng([number, test])
    chosen = {name: values[test][random.integers(len(values[test]))] for name, values in SWITCHES.items()}
    users = max(50, requests // 8)
    world = World(
        users=users, items=chosen["items"], days=40, sessions_per_day=0.5, noise=chosen["noise"], views=chosen["views"],
        seed=1000 * (1 + test) + number, subcategories=min(60, chosen["items"] // 8),
    )  # fmt: skip
    recalled = chosen["recalled"]
    flow = FlowWorld(
        requests=requests, world=world, seed=world.seed, gap=chosen["gap"], signal=chosen["signal"], popular=chosen["popular"],
        exploration=chosen["exploration"], drift=chosen["drift"], recalled=recalled, keep=(recalled // 2, recalled // 4, 10), sample=0,
    )  # fmt: skip
    model, hidden = chosen["first"]
    design = Design(
        prerank=model,
        hidden=hidden,
        rank_hidden=(64, 32),
        widths=(max(12, recalled // 5), 10),
        batch=64,
        learning_rate=0.01,
    )
    return flow, design, chosen


def world(number: int, test: bool, requests: int, seeds: int, trials: int) -> dict[str, Any]:
    """Train every scheme in a world; its signs, and each scheme's value."""
    flow, design, chosen = drawn(number, test, requests)
    log = flow_log(flow)
    parts = Parts.of(log)
    values: dict[str, list[float]] = {}
    for scheme in (advise.BASE, *SCHEMES):
        one = replace(design, scheme=scheme)
        best = tuned(
            one,
            Tune(trials=trials, batch=(32, 64, 128)),
            lambda tried: run(tried, log, 0, judge="validation", parts=parts).metrics["value"],
        )
        values[scheme] = [run(best, log, seed, parts=parts).metrics["value"] for seed in range(seeds)]
    return {"switches": chosen, "signs": signs(log, design, parts=parts).values, "values": values}


def read(folder: Path, test: bool, count: int) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Signs [worlds, signs] and leads [worlds, schemes] of the worlds that are there."""
    files = [folder / f"{'test' if test else 'fit'}-{number:05d}.json" for number in range(count)]
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    rows = np.array([vector(each["signs"]) for each in found])
    base = np.array([np.mean(each["values"][advise.BASE]) for each in found])
    leads = np.array([[np.mean(each["values"][scheme]) for scheme in SCHEMES] for each in found]) / base[:, None] - 1
    return rows, leads, found


def worth(names: list[str], leads: np.ndarray) -> np.ndarray:
    """The lead over independent training of the scheme that is named for each world: (worlds,)."""
    return np.array(
        [0.0 if name == advise.BASE else row[SCHEMES.index(name)] for name, row in zip(names, leads, strict=True)]
    )


def main() -> None:
    """Make what is missing, fit, test, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.codesign_rule", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the worlds; what is there is not made again")
    parser.add_argument("--worlds", type=int, default=200, help="of the fit (default 200)")
    parser.add_argument("--tests", type=int, default=60, help="of the test (default 60)")
    parser.add_argument("--requests", type=int, default=8000, help="of each world (default 8000)")
    parser.add_argument("--seeds", type=int, default=2, help="of each training (default 2)")
    parser.add_argument("--trials", type=int, default=3, help="of tuning, for each scheme (default 3)")
    parser.add_argument("--save", action="store_true", help="write narrows/codesign/rule.json")
    args = parser.parse_args()
    todo = [(number, test) for test, count in ((False, args.worlds), (True, args.tests)) for number in range(count)]
    todo = [
        (number, test)
        for number, test in todo
        if not (args.folder / f"{'test' if test else 'fit'}-{number:05d}.json").exists()
    ]
    began = time.monotonic()
    for done, (number, test) in enumerate(todo):
        found = world(number, test, args.requests, args.seeds, args.trials)
        write_json(args.folder / f"{'test' if test else 'fit'}-{number:05d}.json", found)
        left = (time.monotonic() - began) / (done + 1) * (len(todo) - done - 1)
        print(f"<!-- {done + 1} of {len(todo)} worlds; about {left / 60:.0f} min left -->", flush=True)
    report(args)


def report(args: argparse.Namespace) -> None:
    """Fit and test the rule on the worlds that are there."""
    rows, leads, _ = read(args.folder, False, args.worlds)
    rule = advise.fit(rows, leads, SCHEMES)
    true = advise.winners(leads, SCHEMES)
    commonest = Counter(true).most_common(1)[0][0]
    tested, test_leads, _ = read(args.folder, True, args.tests)
    winners = advise.winners(test_leads, SCHEMES)
    called, always_called = advise.calls(rule, tested), [commonest] * len(winners)
    right, always = (advise.share_right(names, winners) for names in (called, always_called))
    setting = f"{args.requests} requests a world, {args.seeds} seeds, {args.trials} trials of tuning a scheme"
    rule = replace(rule, tested=len(winners), right=round(right[0], 4), commonest=round(always[0], 4), note=setting)
    print(f"\n{len(rows)} worlds of the fit, {len(tested)} of the test; {setting}.\n")
    print(
        "| scheme | wins in the fit | wins in the test | mean lead over independent | least | most |\n|---|---|---|---|---|---|"
    )
    both = np.concatenate([leads, test_leads])
    for name in (advise.BASE, *SCHEMES):
        column = both[:, SCHEMES.index(name)] if name != advise.BASE else np.zeros(len(both))
        counts = [str(list(each).count(name)) if name != advise.DEARER else "other cost" for each in (true, winners)]
        print(
            f"| {name} | {counts[0]} | {counts[1]} | {column.mean():+.2%} | {column.min():+.2%} | {column.max():+.2%} |"
        )
    print(
        f"\nThe rule names the winner in {right[0]:.0%} [{right[1]:.0%}, {right[2]:.0%}] of the tested worlds; always {commonest}: {always[0]:.0%} [{always[1]:.0%}, {always[2]:.0%}].\n"
    )
    print("| what is trained | lead over independent, mean of the tested worlds |\n|---|---|")
    by_rule, by_habit = worth(called, test_leads), worth(always_called, test_leads)
    choices = {
        "what the rule names": by_rule,
        f"always {commonest}": by_habit,
        "the first less the second": by_rule - by_habit,
        "the best of each world, as measured": worth(winners, test_leads),
    }
    for name, lead in choices.items():
        mean, low, high = (float(each[0]) for each in intervals(lead[:, None]))
        print(f"| {name} | {mean:+.2%} [{low:+.2%}, {high:+.2%}] |")
    print()
    strongest = sorted(zip(SIGNS, *rule.slope, strict=True), key=lambda each: -max(map(abs, each[1:])))[:6]
    print("| sign | " + " | ".join(SCHEMES) + " |\n|---|" + "---|" * len(SCHEMES))
    for name, *slopes in strongest:
        print(f"| {name} | " + " | ".join(f"{slope:+.2%}" for slope in slopes) + " |")
    if args.save:
        advise.save(rule)


if __name__ == "__main__":
    main()
