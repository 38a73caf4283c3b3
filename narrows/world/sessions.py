"""When sessions begin, whose they are, and which interest each has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.world import draw
from narrows.world.behaviour import session_shares
from narrows.world.settings import World
from narrows.world.users import Users

MOST = 63
"""Sessions of a user on one day, at the most."""
BUSIEST_HOUR = 20
MICROSECONDS = 1_000_000
DAY = 86_400


@dataclass(frozen=True)
class Sessions:
    """The sessions of some users on a day, in the order of users."""

    who: NDArray[np.int64]
    """The place of the user among those users."""
    number: NDArray[np.int64]
    """The session_id: unique in the world."""
    random: NDArray[np.uint64]
    """64 random bits: all that happens in the session is drawn from them."""
    begin: NDArray[np.int64]
    """Microseconds since 1970."""
    hour: NDArray[np.float64]
    interest: NDArray[np.int64]
    delay: NDArray[np.int64]
    """Microseconds by which its rows arrive after they happen."""

    def __len__(self) -> int:
        return len(self.number)


def sessions(world: World, users: Users, day: int) -> Sessions:
    """The sessions of some users on a day."""
    rate = world.sessions_per_day * users.activity.astype(np.float64) * session_shares(world, day)
    rate *= users.joined <= day
    chance = draw.uniform(draw.stream(world.seed, "sessions"), users.number, day)
    count = draw.poisson(chance, rate, MOST)
    who = np.repeat(np.arange(len(users)), count)
    nth = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
    number = (users.number[who] * world.days + day) * (MOST + 1) + nth
    random = draw.bits(draw.stream(world.seed, "session"), number)
    second = _second(world, draw.uniform(random, 4))
    hour = second / 3600
    begin = (int(world.begin.timestamp()) + day * DAY + second) * MICROSECONDS
    below = np.cumsum(users.take(who).shares(world, hour), axis=1)[:, :-1]
    interest = (draw.uniform(random, 5)[:, None] >= below).sum(1)
    return Sessions(who, number, random, begin, hour, interest, _delay(world, random))


def _second(world: World, chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Seconds of the day with the density ``1 + hours * cos(2 pi (hour - 20) / 24)``."""
    knots = np.linspace(0, 24, 24 * 60 + 1)
    turn = 2 * np.pi / 24
    share = knots / 24 + world.hours / (2 * np.pi) * (
        np.sin(turn * (knots - BUSIEST_HOUR)) + np.sin(turn * BUSIEST_HOUR)
    )
    return np.minimum(np.interp(chance, share, knots) * 3600, DAY - 1).astype(np.int64)


def hour_density(world: World) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hours through a day, and the probability that a session begins around each."""
    hours = (np.arange(24 * 4) + 0.5) / 4
    density = 1 + world.hours * np.cos(2 * np.pi * (hours - BUSIEST_HOUR) / 24)
    return hours, density / density.sum()


def _delay(world: World, random: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Some seconds; for late sessions hours."""
    seconds = 1 + np.floor(60 * draw.uniform(random, 6))
    late = draw.uniform(random, 7) < world.late
    hours = -np.log1p(-draw.uniform(random, 8)) * world.late_hours
    return (np.where(late, 3600 * hours, 0) + seconds).astype(np.int64) * MICROSECONDS
