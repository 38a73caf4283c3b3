"""The channels of what many users had lately: one for each step of the ladder."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    from stages.recall.query import Proposals, Query


class Popular(Channel):
    """Proposes the items with the most users within a step, of those that the user did not have."""

    reason = "popular"
    meaning = "many users have it now"
    step: ClassVar[str]

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items, the same for everyone up to what each user had."""
        from stages.recall.popularity import most_users

        return most_users(query, f"users_{self.step}", n)


@channel
class Popular64th(Popular):
    """Proposes the items with the most users in the last a sixty-fourth of the horizon, of those that the user did not have."""

    name, step = "popular_64th", "64th"

    quota: int = Field(10, ge=0)


@channel
class Popular16th(Popular):
    """Proposes the items with the most users in the last a sixteenth of the horizon, of those that the user did not have."""

    name, step = "popular_16th", "16th"

    quota: int = Field(10, ge=0)


@channel
class Popular4th(Popular):
    """Proposes the items with the most users in the last a quarter of the horizon, of those that the user did not have."""

    name, step = "popular_4th", "4th"

    quota: int = Field(10, ge=0)


@channel
class Popular1x(Popular):
    """Proposes the items with the most users in the last horizon, of those that the user did not have."""

    name, step = "popular_1x", "1x"

    quota: int = Field(30, ge=0)


@channel
class Popular4x(Popular):
    """Proposes the items with the most users in the last 4 horizons, of those that the user did not have."""

    name, step = "popular_4x", "4x"

    quota: int = Field(40, ge=0)


@channel
class Popular16x(Popular):
    """Proposes the items with the most users in the last 16 horizons, of those that the user did not have."""

    name, step = "popular_16x", "16x"

    quota: int = Field(10, ge=0)


@channel
class Popular64x(Popular):
    """Proposes the items with the most users in the last 64 horizons, of those that the user did not have."""

    name, step = "popular_64x", "64x"

    quota: int = Field(10, ge=0)


@channel
class Expected(Channel):
    """Proposes the items with the largest expected share of the coming horizon's demand, of those that the user did not have."""

    name = "expected"
    reason = "popular_soon"
    meaning = "many users are expected to want it next"

    quota: int = Field(30, ge=0)

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items, the same for everyone up to what each user had; none where nothing is forecast."""
        from features.ladder import EXPECTED, counted
        from stages.recall.popularity import most_users
        from stages.recall.query import Proposals

        column = counted(EXPECTED)
        return most_users(query, column, n) if column in query.items.column_names else Proposals.none()
