"""A pipeline is a value: the rooms, in the order in which they run."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass

from narrows.stage import Stage

GROUP = "narrows.pipelines"
"""The group of entry points that name pipelines."""


@dataclass(frozen=True)
class Pipeline:
    """Rooms in the order in which they run."""

    rooms: tuple[type[Stage], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(room.name for room in self.rooms)

    def room(self, name: str) -> type[Stage]:
        """The class of a room.

        Raises:
            ValueError: there is no such room.
        """
        for room in self.rooms:
            if room.name == name:
                return room
        raise ValueError(f"no room is called {name!r}; the rooms are {', '.join(self.names)}")

    @classmethod
    def load(cls, path: str) -> Pipeline:
        """The rooms of ``PIPELINE`` in the module ``path``: classes, or names of modules below it that hold one each.

        Raises:
            ImportError: the module, or one of its rooms, cannot be imported.
            ValueError: it lists no rooms.
        """
        module = importlib.import_module(path)
        listed = getattr(module, "PIPELINE", ())
        rooms = tuple(_room(path, entry) if isinstance(entry, str) else entry for entry in listed)
        if not rooms:
            raise ValueError(f"the module {path} has no rooms: list them in PIPELINE.")
        return cls(rooms)


def _room(path: str, name: str) -> type[Stage]:
    for value in vars(importlib.import_module(f"{path}.{name}")).values():
        if inspect.isclass(value) and issubclass(value, Stage) and value.__dict__.get("name") == name:
            return value
    raise ValueError(f"the module {path}.{name} has no room called {name!r}.")
