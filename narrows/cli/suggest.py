"""A parser that says what a mistyped command, room or flag may have been."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """``argparse``'s, with "did you mean" in its refusals. Its subparsers are of the same kind."""

    before_command: tuple[str, ...] = ()
    """Flags that stand before the command."""
    action_meant: str = ""
    """The subcommand that is meant where the first argument is none: ``codesign FILE`` is ``codesign run FILE``."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Refuse a flag that there is not, before something else is found missing."""
        if self.action_meant and args and self._subparsers and not str(args[0]).startswith("-"):
            known = self._subparsers._group_actions[0].choices or ()
            args = list(args) if args[0] in known else [self.action_meant, *args]
        if args is not None and not self._subparsers:
            flags = list(args)[: list(args).index("--")] if "--" in args else list(args)
            for flag in (each.partition("=")[0] for each in flags if each.startswith("--") and each != "--"):
                if not any(known.startswith(flag) for known in self._option_string_actions):
                    self.error(f"there is no flag {flag}{self._hint(flag)}")
        return super().parse_known_args(args, namespace)

    def _hint(self, flag: str) -> str:
        if flag in self.before_command:
            return f"; it goes before the command: narrows {flag} ... {self.prog.removeprefix('narrows ')}"
        return did_you_mean(flag, self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = list(map(str, action.choices))
            hint = did_you_mean(str(value), names) or f". There are: {', '.join(names)}"
            raise argparse.ArgumentError(action, f"there is no {str(value)!r}{hint}")

    def error(self, message: str) -> NoReturn:
        """One line and the exit status 2, in place of the usage and a line."""
        self.exit(2, f"{self.prog}: {message}\nHelp: {self.prog} --help\n")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'report'?`` for the nearest of the known words; empty where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
