"""The code that decides what a room makes: its modules and what they import, docstrings and comments stripped."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PLUMBING = (
    "narrows.audit", "narrows.cli", "narrows.config", "narrows.engine.cost", "narrows.engine.garbage", "narrows.engine.java",
    "narrows.engine.spark", "narrows.pipeline", "narrows.run", "narrows.settings", "narrows.stage", "narrows.store",
    "narrows.tracking",
)  # fmt: skip
"""Framework modules that carry rows and decide nothing about them: what they import is not followed either."""
CUT = "narrows.asof"
"""The cut in time decides the content of every table."""


@dataclass(frozen=True)
class Code:
    """The modules of the repository and of a user's own packages, as far as rooms reach them."""

    packages: frozenset[str]
    """Top-level packages whose modules count."""
    _modules: dict[str, tuple[str, frozenset[str]] | None] = field(default_factory=dict, repr=False)

    def of(self, root: str, plugins: tuple[str, ...] = ()) -> dict[str, str]:
        """Every module that a room's package reaches, by name, as normalised source.

        Args:
            root: the module or package of the room; of a package all its modules are reached.
            plugins: modules that register what rooms use; one counts where a decorator that it uses is reached.
        """
        reached = self._closure([root, *self._inside(root), CUT])
        for plugin in plugins:
            if self.decorators(plugin) & reached.keys():
                reached |= self._closure([plugin])
        return reached

    def _closure(self, roots: list[str]) -> dict[str, str]:
        modules: dict[str, str] = {}
        todo = list(roots)
        while todo:
            name = todo.pop()
            if name in modules or (_is_plumbing(name) and name not in roots):
                continue
            if module := self._module(name):
                modules[name], imports = module
                todo += imports
        return modules

    def decorators(self, name: str) -> set[str]:
        """The modules from which a module imports the decorators that it uses."""
        tree = _parse(_file(name))
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

    def _module(self, name: str) -> tuple[str, frozenset[str]] | None:
        """A module's normalised source and the modules of our packages that it imports; None for another's."""
        if name not in self._modules:
            file = _file(name) if name.split(".")[0] in self.packages else None
            if file is None:
                self._modules[name] = None
            else:
                tree = _parse(file)
                self._modules[name] = (normalised(tree), frozenset(self._imports(tree)))
        return self._modules[name]

    def _imports(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            yield from (name for name in names if name.split(".")[0] in self.packages)

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


def _parse(file: Path | None) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8")) if file else ast.Module([], [])
