"""``python -m bench.offpolicy [--open-bandit DIR]``: do off-policy intervals hold the truth?

In generated worlds, whose policies' values are known exactly: for every estimator the mean error and how many of the 95%
intervals hold the value, over seeds. With ``--open-bandit``, the folder of a sample of the Open Bandit Dataset
(events.parquet): each policy's value from the other policy's log, beside the observed one. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from narrows.codesign.offpolicy import Estimate, Logged, every
from narrows.codesign.rewards import smoothed_rates
from narrows.world.policy import at_positions, estimate, propensities, shelf, show
from narrows.world.settings import World
from narrows.world.truth import Truth

FOLDS = 2
DAY = 5
WORLD = World(users=300, items=200, days=30, list_length=10, subcategories=20, new_items=0.1, views=0.1)
POLICIES = {
    "sharper (no exploration error)": {"policy_noise": 0.0},
    "by popularity": {"policy_popularity": 0.9},
    "nearly uniform": {"exploration": 0.9},
    "inverted trust in taste": {"policy_noise": 2.0, "policy_popularity": 0.0, "shuffled": 0.0},
}


@dataclass(frozen=True)
class Evaluated:
    """A policy's exact probabilities and value on one day of a world."""

    shown: np.ndarray
    """[users, items, positions]: the probability that the item stands there."""
    value: float
    """Expected views a round, over users drawn evenly."""


def evaluated(true: Truth, settings: dict[str, float]) -> Evaluated:
    """The policy that the world would have with these settings, its users and items unchanged."""
    world = replace(true.world, **settings)
    shown = at_positions(world, *propensities(world, true.catalogue, true.users, DAY))
    return Evaluated(shown, float(np.einsum("uap,uap->u", shown, wanted(true)).mean()))


def wanted(true: Truth) -> np.ndarray:
    """[users, items, positions]: the probability of a view."""
    who = np.arange(true.world.users)
    chance = np.concatenate(list(true.wanted(who, true.world.instant(DAY), "view")))
    return chance[:, :, None] * np.arange(1, true.world.list_length + 1.0) ** -true.world.position_bias


def logged(true: Truth, other: Evaluated, rounds: int, seed: int) -> Logged:
    """A log of the world's own policy, of users drawn evenly, with a smoothed rate as reward model."""
    world, random = true.world, np.random.default_rng(seed)
    who = random.integers(world.users, size=rounds)
    known = estimate(world, true.catalogue, true.users)
    lists = show(
        world, shelf(world, true.catalogue, DAY), known, who, random.integers(2**63, size=rounds).astype(np.uint64)
    )
    user, item, position = np.repeat(who, world.list_length), lists.items.ravel(), lists.positions.ravel() - 1
    own = at_positions(world, *propensities(world, true.catalogue, true.users, DAY))
    interest = shares_drawn(true, who, random)
    chance = true.probabilities(who, lists.items, world.instant(DAY), "view")
    chance = np.take_along_axis(chance, interest[:, None, None], 2).ravel()
    reward = (random.random(len(user)) < chance * (position + 1.0) ** -world.position_bias).astype(float)
    number = np.repeat(np.arange(rounds), world.list_length)
    rates = smoothed_rates(item, position, reward, number % FOLDS, world.items)
    expected = np.einsum("uap,fpa->fup", other.shown, rates)
    return Logged(
        number, position, reward, own[user, item, position], other.shown[user, item, position],
        predicted=rates[number % FOLDS, position, item], expected=expected[number % FOLDS, user, position],
    )  # fmt: skip


def shares_drawn(true: Truth, who: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """[rounds]: the interest of each round."""
    ends = np.cumsum(true.shares(who, true.world.instant(DAY)), axis=1)
    return np.minimum((random.random(len(who))[:, None] > ends).sum(1), ends.shape[1] - 1)


def covered(seeds: int, rounds: int, bootstrap: int) -> Iterator[str]:
    """Rows of the table: policy, estimator, value, bias and spread in percent of it, coverage, effective size."""
    for name, settings in POLICIES.items():
        found: dict[str, list[tuple[Estimate, float]]] = {}
        for seed in range(seeds):
            true = Truth.of(replace(WORLD, seed=seed + 1))
            other = evaluated(true, settings)
            for each in every(logged(true, other, rounds, seed), bootstrap=bootstrap, seed=seed):
                found.setdefault(each.estimator, []).append((each, other.value))
        for estimator, pairs in found.items():
            errors = np.array([each.value / value - 1 for each, value in pairs])
            holds = sum(each.covers(value) for each, value in pairs)
            size = np.median([each.effective_size / each.rows for each, _ in pairs])
            width = np.mean([(each.high - each.low) / 2 / value for each, value in pairs])
            yield (
                f"| {name} | {estimator} | {errors.mean():+.1%} | {errors.std(ddof=1):.1%} | ±{width:.1%} | "
                f"{holds}/{len(pairs)} | {size:.0%} |"
            )


def open_bandit(folder: Path) -> Iterator[str]:
    """Rows of the table: each policy of each campaign from the other's log, beside what was observed."""
    import polars as pl

    events = pl.read_parquet(folder / "events.parquet")
    for campaign in sorted(events["campaign"].unique()):
        logs = {
            name: part
            for (name,), part in events.filter(campaign=campaign).partition_by("policy", as_dict=True).items()
        }
        shares = {name: shown_shares(part) for name, part in logs.items()}
        for name, other in (("bts", "random"), ("random", "bts")):
            clicks = logs[name]["value"].to_numpy()
            rate, error = clicks.mean(), 1.96 * clicks.std() / len(clicks) ** 0.5
            for each in every(bandit_log(logs[other], shares[name], uniform=name == "random")):
                meets = each.low <= rate + error and each.high >= rate - error
                yield (
                    f"| {campaign} | {name} from {other} | {each.estimator} | {each.value:.2%} [{each.low:.2%}, {each.high:.2%}] | "
                    f"{rate:.2%} ± {error:.2%} | {'yes' if each.covers(rate) else 'no'} | {'yes' if meets else 'no'} | "
                    f"{each.effective_size:,.0f} |"
                )


def shown_shares(log: object) -> np.ndarray:
    """[positions, actions]: how often a policy showed each item at each position of its own log."""
    position, action = log["position"].to_numpy() - 1, log["item_idx"].to_numpy()  # type: ignore[index]
    counts = np.zeros((3, int(action.max()) + 1))
    np.add.at(counts, (position, action), 1.0)
    return counts / counts.sum(1, keepdims=True)


def bandit_log(log: object, shares: np.ndarray, uniform: bool) -> Logged:
    """A policy's log, for the evaluated policy's probabilities: uniform, or the mean over the week as it showed them."""
    position, action = log["position"].to_numpy() - 1, log["item_idx"].to_numpy()  # type: ignore[index]
    shares = np.full_like(shares, 1 / shares.shape[1]) if uniform else shares
    reward, number = log["value"].to_numpy().astype(float), np.arange(len(position))  # type: ignore[index]
    rates = smoothed_rates(action, position, reward, number % FOLDS, shares.shape[1])
    expected = np.einsum("pa,fpa->fp", shares, rates)
    return Logged(
        number, np.zeros(len(number), np.int64), reward, log["propensity_score"].to_numpy(), shares[position, action],  # type: ignore[index]
        predicted=rates[number % FOLDS, position, action], expected=expected[number % FOLDS, position],
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.offpolicy", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=4000)
    parser.add_argument("--bootstrap", type=int, default=0, help="resamples; 0 = normal intervals")
    parser.add_argument("--open-bandit", type=Path, metavar="DIR")
    args = parser.parse_args()
    print(
        "| policy | estimator | mean error | its spread | half interval | intervals that hold the truth | effective size |\n|---|---|---|---|---|---|---|"
    )
    for row in covered(args.seeds, args.rounds, args.bootstrap):
        print(row, flush=True)
    if args.open_bandit:
        print(
            "\n| campaign | policy | estimator | estimate | observed | holds it | intervals meet | effective rows |\n|---|---|---|---|---|---|---|---|"
        )
        for row in open_bandit(args.open_bandit):
            print(row)


if __name__ == "__main__":
    main()
