"""Who may publish on an object store: a lease that ends by itself, with a number that grows with every holder.

An object store has no lock that ends with its holder. The lease is an object with an end, which its holder puts off while
it lives. Whoever takes it over gets the next number: a holder that comes back late is told by the number that it was
replaced, and publishes nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from narrows.source.urls import redacted
from narrows.store.conditional import Changed, Objects
from narrows.store.partitions import StoreError, StoreHeld

LOG = logging.getLogger(__name__)
KEY = "LEASE.json"
SECONDS = 60.0
"""How long a lease holds that is not renewed: after a kill the next run waits as long."""


@dataclass
class Lease:
    """The right to publish, of one process and its children."""

    objects: Objects
    seconds: float = SECONDS
    number: int = 0
    """The fencing number: higher than that of every earlier holder."""
    token: str = ""
    """Names this holding; a child finds it in its environment."""
    _about: dict[str, Any] = field(default_factory=dict, repr=False)
    _tag: str | None = field(default=None, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _renewing: threading.Thread | None = field(default=None, repr=False)

    def take(self, what: str) -> None:
        """Take the lease, where it is free or has ended, and renew it from now on.

        Raises:
            StoreError: another run holds it; says which, and until when.
        """
        found = self.objects.read(KEY)
        value, tag = found or ({"number": 0, "until": 0.0}, None)
        if value["until"] > time.time():
            raise StoreHeld(self._held_by(value))
        self.number, self.token = value["number"] + 1, uuid4().hex
        self._about = {"pid": os.getpid(), "host": socket.gethostname(), "what": what}
        try:
            self._tag = self.objects.write(KEY, self._value(), tag)
        except Changed:
            found = self.objects.read(KEY)
            raise StoreHeld(self._held_by(found[0] if found else {})) from None
        if found and value["until"]:
            LOG.warning("took over the store from %s, whose lease had ended", _who(value))
        self._renewing = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._renewing.start()

    def join(self, token: str) -> bool:
        """Be a child of the holder: whether the lease is that of ``token``."""
        found = self.objects.read(KEY)
        if not token or not found or found[0].get("token") != token:
            return False
        self.number, self.token = found[0]["number"], token
        return True

    def require(self) -> None:
        """Make sure that the lease is still this one.

        Raises:
            StoreError: it was taken over.
        """
        found = self.objects.read(KEY)
        if not found or found[0].get("token") != self.token:
            by = _who(found[0]) if found else "somebody who deleted it"
            raise StoreHeld(
                f"the lease on {redacted(self.objects.address)} was taken over by {by}: it had ended before it was renewed. "
                "Nothing was published; what is there stands. Run again when the other run is done."
            )

    def release(self) -> None:
        """Let the next run take it at once; nothing where it was taken over."""
        self._stop.set()
        if self._renewing:
            self._renewing.join()
        try:
            self.objects.write(KEY, self._value() | {"until": 0.0, "token": ""}, self._tag)
        except (Changed, StoreError) as error:
            LOG.debug("the lease was not released: %s", error)  # it ends by itself, or has another holder

    def _value(self) -> dict[str, Any]:
        return {"number": self.number, "token": self.token, "until": time.time() + self.seconds, **self._about}

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 3):
            try:
                self._tag = self.objects.write(KEY, self._value(), self._tag)
            except Changed:
                LOG.warning("the lease on %s was taken over", redacted(self.objects.address))
                return
            except StoreError as error:
                LOG.warning("the lease could not be renewed, and is tried again: %s", error)

    def _held_by(self, value: dict[str, Any]) -> str:
        left = max(0, round(value.get("until", 0) - time.time()))
        return (
            f"another run holds {redacted(self.objects.address)}: {_who(value)}. Wait for it, or end that process; "
            f"its lease ends {left} s from now unless it renews it."
        )


def _who(value: dict[str, Any]) -> str:
    return f"process {value.get('pid')} on {value.get('host')} ({value.get('what')})"
