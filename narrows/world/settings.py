"""The settings of a generated world."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cached_property

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


class WorldError(Exception):
    """A world that cannot be made, written or read: the message says what to do."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class World:
    """Everything that decides the rows and the truth of a generated world. The same settings make the same rows."""

    users: int = Field(default=2_000, ge=1)
    """Users, numbered from 0."""
    items: int = Field(default=1_000, ge=2)
    """Items, numbered from 0 in the order of their subcategories."""
    days: int = Field(default=90, ge=1, le=3660)
    """Days of the log."""
    start: str = Field(default="2024-01-01", pattern=r"^\d{4}-\d\d-\d\d$", description="a day such as 2024-01-01")
    """The first day of the log."""
    seed: int = 1
    """Another seed makes another world."""

    sessions_per_day: float = Field(default=0.3, gt=0, le=20)
    """Sessions a day of a user, on average."""
    activity: float = Field(default=1.0, ge=0, le=2)
    """Standard deviation of the logarithm of a user's own rate of sessions: the tail is heavy."""
    new_users: float = Field(default=0.2, ge=0, le=1)
    """Share of the users who join within the log; the others were there before it."""
    hours: float = Field(default=0.8, ge=0, le=1)
    """How strongly sessions follow the hour of the day; most are at 20:00 UTC."""
    week: float = Field(default=0.3, ge=0, le=1)
    """How strongly sessions follow the day of the week; most are on Saturdays."""

    taste_size: int = Field(default=16, ge=2, le=256)
    """Dimensions of the latent tastes."""
    interests: int = Field(default=3, ge=1, le=16)
    """Interests of a user: each session has one of them."""
    interest_hours: float = Field(default=0.5, ge=0, le=4)
    """How strongly the interest of a session depends on the hour: every interest has an hour of its own."""
    taste: float = Field(default=4.0, ge=0)
    """Log-odds that a perfect match of interest and item adds."""
    noise: float = Field(default=0.5, ge=0)
    """Standard deviation of the log-odds that belong to one user and one item, which no feature explains."""

    categories: int = Field(default=10, ge=1)
    """Categories; each has a direction in the space of tastes."""
    subcategories: int = Field(default=60, ge=1, le=4096)
    """Subcategories, near their categories."""
    brands: int = Field(default=50, ge=1)
    """Brands; an item has one whose direction is like its own."""
    spread: float = Field(default=0.6, ge=0)
    """How far subcategories lie from their category, items from their subcategory, and interests from theirs."""
    new_items: float = Field(default=0.3, ge=0, le=0.9)
    """Share of the items that are born within the log; the others were born in the half year before it."""
    freshness: float = Field(default=1.0, ge=0, le=10)
    """Log-odds that an item has more on the day of its birth."""
    freshness_days: float = Field(default=14.0, gt=0)
    """Days in which that falls to 1/e."""
    popularity: float = Field(default=1.0, ge=0, le=3)
    """Zipf exponent of how often the logging policy shows items of one subcategory."""
    appeal: float = Field(default=0.3, ge=0)
    """How much of an item's log popularity is true liking."""
    quality: float = Field(default=0.7, ge=0)
    """Standard deviation over items of the log-odds that what lies in a cart is purchased."""

    list_length: int = Field(default=20, ge=1, le=500)
    """Items of the list that a session shows."""
    position_bias: float = Field(default=1.0, ge=0, le=4)
    """Position p is examined with probability p to the power of minus this."""
    policy_popularity: float = Field(default=0.3, ge=0, le=1)
    """Share of the logging policy's lists that goes by popularity alone, not by the user's taste."""
    policy_noise: float = Field(default=1.0, ge=0, le=5)
    """Standard deviation of the error in the logging policy's log estimate of a user's taste for a subcategory."""
    exploration: float = Field(default=0.1, ge=0, le=1)
    """Share of the logging policy's lists that is spread evenly over all items."""
    shuffled: float = Field(default=0.2, ge=0, le=1)
    """Share of the lists whose positions are turned by a random step; the others have the policy's best first."""

    views: float = Field(default=0.05, gt=0, lt=1)
    """Probability that an examined item without any attraction is viewed."""
    carts: float = Field(default=0.4, ge=0, le=1)
    """Probability that a viewed item is put into the cart."""
    purchases: float = Field(default=0.6, gt=0, lt=1)
    """Probability that an item of average quality in the cart is purchased."""
    returns: float = Field(default=0.08, ge=0, le=1)
    """Probability that a purchase is returned later."""
    repeat: float = Field(default=0.4, ge=0, le=1)
    """Probability that a session also seeks one of the user's staples, without having been shown it."""
    staples: int = Field(default=5, ge=1, le=100)
    """Items that a user comes back for."""
    loyalty: float = Field(default=2.0, ge=0)
    """Log-odds that one of the user's staples has more where it is shown."""
    late: float = Field(default=0.02, ge=0, le=1)
    """Probability that all rows of a session arrive late."""
    late_hours: float = Field(default=24.0, gt=0)
    """By how many hours late rows arrive late, on average."""

    def __post_init__(self) -> None:
        try:
            date.fromisoformat(self.start)
        except ValueError as error:
            raise ValueError(f"start = {self.start}: {error}.") from None
        if self.subcategories > self.items:
            raise ValueError(f"subcategories = {self.subcategories} are more than items = {self.items}: lower them.")
        if self.categories > self.subcategories:
            raise ValueError(f"categories = {self.categories} are more than subcategories = {self.subcategories}.")
        if self.items - self.born_within < 2 * self.list_length:
            raise ValueError(
                f"items = {self.items} with new_items = {self.new_items} are too few for lists of {self.list_length} "
                f"from the first day on: have {2 * self.list_length} old items or more, or lower list_length."
            )

    @property
    def born_within(self) -> int:
        """How many items are born within the log."""
        return int(self.items * self.new_items)

    @cached_property
    def begin(self) -> datetime:
        """The first instant of the log."""
        return datetime.fromisoformat(self.start).replace(tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant after the log."""
        return self.begin + timedelta(days=self.days)

    def instant(self, day: int, hour: float = 0) -> datetime:
        """An instant of a day of the log, 0 = the first."""
        return self.begin + timedelta(days=day, hours=hour)

    def day_and_hour(self, instant: datetime) -> tuple[int, float]:
        """The day of the log (0 = the first) and the hour of an instant.

        Raises:
            WorldError: it has no time zone, or lies before the log.
        """
        if instant.tzinfo is None or instant < self.begin:
            raise WorldError(f"{instant} is no instant of this world: give one with a time zone, from {self.begin} on")
        day, rest = divmod(instant - self.begin, timedelta(days=1))
        return day, rest / timedelta(hours=1)
