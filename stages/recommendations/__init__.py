"""Recommendations: the lists as a database object for product services: staged, gated, swapped."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from narrows.durations import PATTERN
from narrows.run.touched import EVERYBODY
from narrows.stage import Asof, Output, Previous, Recent, Table, TableStage, room, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from narrows.settings import Settings

LOG = logging.getLogger(__name__)


@room
class Recommendations(TableStage):
    """One row per scene, user and place in the list: what this release serves over the horizon.

    Beside it lies ``fallback``: for ``all`` and per segment, what unknown, expired and short lists are filled
    with. Publication writes both to the serving database and swaps the live release in one transaction.
    """

    name: ClassVar[str] = "recommendations"
    past: ClassVar[dict[str, str | int]] = {"item_profiles": 2}

    scene: str = "home"
    """The surface of the product that the lists are for."""
    audience: float = Field(64.0, ge=0)
    """Who gets a list of their own: users with an event within so many horizons, or with none yet; the others get the
    fallback. 0 = everybody."""
    everybody: str = Field("", pattern=rf"^$|{PATTERN}", description="a duration, such as 1d or 6h, or nothing")
    """How often everybody of the audience gets a new list, such as 1d. Between, users with an event since the run before
    do; the other lists go on until they expire, and all fallback lists are made anew. Empty = at every run."""
    fallback_n: int = Field(50, ge=1)
    """Items of every fallback list."""
    fallback_contexts: int = Field(50, ge=0)
    """So many contexts at most, those with the most users, have a fallback list of their own, if such lists would have been worth
    more than everyone's a horizon ago. A service asks for it by the segment ``context=<name>``; a context may have parts joined by ``|``."""
    grace_hours: float = Field(24.0, ge=0)
    """Hours that a list may be served after its horizon has ended, for the case that the next one is late."""
    keep: int = Field(3, ge=0)
    """Releases kept beside the live one, to roll back to."""
    clock: Literal["auto", "wall", "asof"] = "auto"
    """What expiry is measured by. ``wall``: the database's clock. ``asof``: the end of the as-of, so that
    nothing expires. ``auto``: ``asof`` for a replay of the past (expired when it was made), else ``wall``."""

    def transform(
        self,
        rerank: Table,
        item_profiles: Recent,
        user_profiles: Table,
        recommendations: Previous,
        *,
        horizon: timedelta,
        settings: Settings,
        since: Asof | None,
    ) -> Output:
        """The published rows, without what is taken down; a release id comes from the versions that were read and the
        room's settings. Lists of some users alone are laid over those of the partition ``since``.
        """
        from features.ladder import best_step
        from narrows.serving import reading, schema
        from narrows.serving.gates import FALLBACK_PLACE, without
        from stages.recommendations import lists
        from stages.recommendations.fallback import contexts_of_use, fallback_lists

        catalogues = list(item_profiles.values())
        versions = [rerank.version, *(table.version for table in catalogues), user_profiles.version]
        going_on = recommendations[since] if since else None
        release = (
            going_on.notes["release_id"] if going_on else lists.release_id(rerank.asof, versions, settings_of(self))
        )
        users = lists.read_users(user_profiles)
        *before, items = map(lists.read_items, catalogues)
        earlier = before[0] if before else None
        step = best_step(earlier, items)
        contexts = contexts_of_use(earlier, items, step, self.fallback_contexts)
        of_release: dict[str, Any] = {
            "scene": self.scene, "release_id": release, "batch_id": str(rerank.asof),
            "expires_at": lists.expiry(rerank.asof, horizon, self.grace_hours),
        }  # fmt: skip
        offered = lists.offered(rerank.parts(["item_id", "reason"]))
        if going_on:
            offered = lists.offered_before(offered, lists.blocked(rerank.parts(["item_id", "reason"])), going_on)
        filling = fallback_lists(items, users, offered, step, self.scene, self.fallback_n, contexts)
        engine = schema.open_engine(settings.serving_url)
        try:
            schema.create(engine)
            gone = reading.taken_down(engine)
        finally:
            engine.dispose()
        filling = without(filling, gone, FALLBACK_PLACE)
        notes: dict[str, Any] = {"release_id": release, "fallback_rows": filling.num_rows, "fallback_step": step}
        notes |= {"fallback_contexts": len(contexts), EVERYBODY: str(rerank.asof)}
        pieces: Iterator[pa.Table] = (lists.rows(piece, users, **of_release) for piece in lists.read_lists(rerank))
        if going_on:
            notes |= {EVERYBODY: going_on.notes[EVERYBODY], "since": str(since)}
            pieces = lists.laid_over(pieces, going_on, rerank.asof)
        return Output(lists.Release(pieces, gone, notes), notes, {"fallback": filling})

    def publish(self, draft: Table, *, rerank: Table, settings: Settings, asof: Asof, hold: str = "") -> dict[str, Any]:
        """Write the release to the serving database and make it live: what the audited ``draft`` holds.

        A release that the database holds already is made live again if it should be, and nothing is written; one
        that is lost there, in whole or in part, is written again.

        Args:
            draft: the partition, published or about to be.
            rerank: the lists with their reasons.
            settings: for the address of the serving database.
            asof: the partition.
            hold: why it must not go live, e.g. that the source has no events of the as-of; empty = it may.

        Returns:
            Notes, as ``publication.publish`` returns them; ``taken_down`` counts from the re-ranked lists on.

        Raises:
            GateError: the release must not be served; nothing changed.
        """
        import pyarrow.compute as pc

        from narrows import reasons
        from narrows.serving import releases, schema
        from narrows.serving.overlay import OVERLAYS, overlay
        from stages.recommendations import lists

        explained = reasons.of_rooms(settings.pipeline.rooms).kept | schema.FALLBACK
        draft_notes = draft.meta["notes"]
        engine = schema.open_engine(settings.serving_url)
        try:
            schema.create(engine)
            releases.explain(engine, explained)
            given: dict[str, Any] = {
                "asof": asof, "created_at": draft.meta["made_at"], "keep": self.keep, "clock": self.clock, "hold": hold,
                "forbidden": lists.blocked(rerank.parts(["item_id", "reason"])),
            }  # fmt: skip
            release, fallback = draft_notes["release_id"], draft.side("fallback").arrow()
            if "since" in draft_notes:
                new = partial(draft.parts, where=pc.field("batch_id") == str(asof))
                notes = overlay(engine, release, draft.version, new, fallback, **given)
            else:
                notes = releases.ensure(engine, release, keep=self.keep, hold=hold)
            if notes is None:
                from narrows.serving import publication

                if unknown := lists.unexplained(draft.parts(["reason"]), explained):
                    LOG.warning("no room's reasons.yml explains: %s", ", ".join(unknown))
                    releases.explain(engine, {code: code for code in unknown})
                manifest = {key: draft.meta[key] for key in ("fingerprint", "inputs", "settings", "notes")}
                manifest |= {OVERLAYS: [draft.version]} if "since" in draft_notes else {}
                notes = publication.publish(engine, manifest, draft.parts, fallback, **given)
        finally:
            engine.dispose()
        LOG.info("release %s is %s", notes["release_id"], serving_state(notes))
        return notes | {"taken_down": draft_notes["received"] - notes["rows"]}


def serving_state(notes: dict[str, Any]) -> str:
    """``LIVE``, or ``kept, because ...``."""
    return "LIVE" if notes["live"] else f"kept, because {notes['kept_because']}"
