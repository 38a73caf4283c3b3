"""The code that decides what a room makes: its modules and what they import, docstrings and comments stripped."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

PLUMBING = (
    "narrows.audit", "narrows.cli", "narrows.config", "narrows.engine.cluster", "narrows.engine.cost", "narrows.engine.garbage",
    "narrows.engine.java", "narrows.engine.memory", "narrows.engine.spark", "narrows.pipeline", "narrows.run", "narrows.settings",
    "narrows.stage", "narrows.store", "narrows.temporary", "narrows.tracking",
)  # fmt: skip
"""Framework modules that carry rows and decide nothing about them: what they import is not followed either."""
CUT = "narrows.asof"
"""The cut in time decides the content of every table."""


class Module(NamedTuple):
    """What the code of a module says of it."""

    digest: str
    """A hash of its normalised source."""
    imports: list[str]
    """What it imports, anywhere in it: modules, and names in modules."""
    decorators: list[str]
    """The modules from which it imports the decorators that it uses."""


@dataclass(frozen=True)
class Code:
    """The modules of the repository and of a user's own packages, as far as rooms reach them."""

    packages: frozenset[str]
    """Top-level packages whose modules count."""
    cache: Path | None = None
    """A file that keeps what was parsed, by a hash of the source: parsing takes half a second of every process."""
    _modules: dict[str, Module | None] = field(default_factory=dict, repr=False)

    def of(self, root: str, plugins: tuple[str, ...] = ()) -> dict[str, str]:
        """Every module that a room's package reaches, by name, as a hash of its normalised source.

        Args:
            root: the module or package of the room; of a package all its modules are reached.
            plugins: modules that register what rooms use; one counts where a decorator that it uses is reached.
        """
        reached = self._closure([root, *self._inside(root), CUT])
        for plugin in plugins:
            module = self._module(plugin)
            if module and reached.keys() & set(module.decorators):
                reached |= self._closure([plugin])
        self._keep()
        return reached

    def _closure(self, roots: list[str]) -> dict[str, str]:
        modules: dict[str, str] = {}
        todo = list(roots)
        while todo:
            name = todo.pop()
            if name in modules or (_is_plumbing(name) and name not in roots):
                continue
            if module := self._module(name):
                modules[name] = module.digest
                todo += [each for each in module.imports if each.split(".")[0] in self.packages]
        return modules

    def _module(self, name: str) -> Module | None:
        """What a module of our packages says; None for another's."""
        if name not in self._modules:
            file = _file(name) if name.split(".")[0] in self.packages else None
            module = self._read(file) if file else None
            if file and module:
                package = name if file.name == "__init__.py" else name.rpartition(".")[0]
                module = module._replace(
                    imports=[importlib.util.resolve_name(each, package) for each in module.imports]
                )
            self._modules[name] = module
        return self._modules[name]

    def _read(self, file: Path) -> Module:
        source = file.read_bytes()
        key = hashlib.sha256(source).hexdigest()
        if key not in self._parsed:
            tree = ast.parse(source)
            code = hashlib.sha256(normalised(tree).encode()).hexdigest()  # leaves out what only type checkers import
            self._parsed[key] = [code, sorted(set(_imports(tree))), sorted(_decorators(tree))]
            self._unkept.append(key)
        return Module(*self._parsed[key])

    @cached_property
    def _unkept(self) -> list[str]:
        return []

    @cached_property
    def _parsed(self) -> dict[str, list]:
        """What the cache has, of this version of the parser."""
        try:
            kept = json.loads(self.cache.read_bytes()) if self.cache else {}
            return dict(kept["modules"]) if kept["parser"] == _parser() else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _keep(self) -> None:
        if self.cache and self._unkept:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            draft = self.cache.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps({"parser": _parser(), "modules": self._parsed}))
            draft.replace(self.cache)
            self._unkept.clear()

    def _inside(self, root: str) -> list[str]:
        """All modules of a package."""
        file = _file(root)
        if file is None or file.name != "__init__.py":
            return []
        folder = file.parent
        return [
            ".".join([root, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__")
            for path in sorted(folder.rglob("*.py"))
            if path != file
        ]


def _parser() -> str:
    """What the content of the cache depends on beside the sources: this file and the version of Python."""
    return hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            end = "." if node.module else ""
            yield from (*([module] if node.module else []), *(f"{module}{end}{alias.name}" for alias in node.names))


def _decorators(tree: ast.Module) -> set[str]:
    """The modules from which a module imports the decorators that it uses."""
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            origins |= {alias.asname or alias.name: node.module for alias in node.names}
    used = set()
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", []):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(called, ast.Name) and called.id in origins:
                used.add(origins[called.id])
    return used


def normalised(tree: ast.Module) -> str:
    """A module without comments, docstrings, layout and what only type checkers read: equal for equal behaviour."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                kept = [each for each in body if not _is_text(each) and not _is_for_types(each)]
                setattr(node, name, kept or ([ast.Pass()] if body else []))
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_plumbing(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in PLUMBING)


def _file(name: str) -> Path | None:
    """Where a module lies; None where there is none (a name imported from one, say). Nothing is imported for it."""
    package, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if not spec:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    paths = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]  # also without an __init__.py
    files = [file for path in paths for file in (path / "__init__.py", path.with_suffix(".py"))]
    return next((file for file in files if file.exists()), None)
