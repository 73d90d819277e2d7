"""The service's own source, parsed once, for the tests that hold its walls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Imported(NamedTuple):
    """`name` is what is imported, as far as it is written; `module` what it is imported from."""

    line: int
    module: str
    name: str


@dataclass(frozen=True)
class Module:
    """A module of the service, by its dotted name. Its text may be made up, to see whether a rule notices."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    def within(self, *packages: str) -> bool:
        """Whether it is one of these modules, or lies in one of these packages."""
        return any(self.name == package or self.name.startswith(f"{package}.") for package in packages)

    def imports(self) -> Iterator[Imported]:
        """All that are executed; what only type checkers see binds nobody."""
        seen_by_checkers = {inner for node in ast.walk(self.tree) if _is_for_checkers(node) for inner in ast.walk(node)}
        for node in ast.walk(self.tree):
            if node in seen_by_checkers:
                continue
            if isinstance(node, ast.Import):
                yield from (Imported(node.lineno, alias.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                yield from (Imported(node.lineno, module, f"{module}.{alias.name}") for alias in node.names)

    def functions(self) -> Iterator[Function]:
        yield from (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def strings(self) -> Iterator[tuple[int, str]]:
        """(line, text) of what the code says, docstrings left out; of an f-string its parts."""
        spoken = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and id(node) not in spoken and isinstance(node.value, str | bytes):
                text = node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
                yield node.lineno, text

    def calls(self) -> Iterator[tuple[int, str]]:
        """(line, the function as it is written) of every call."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node.lineno, ast.unparse(node.func)


def _is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def length_of(function: Function) -> int:
    """Lines of a function without its docstring."""
    assert function.end_lineno is not None
    documented = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (len(documented.splitlines()) if documented else 0)


def sentences(text: str) -> int:
    return len(re.findall(r"[.;!?](?=\s|$)", text))


def house() -> list[Module]:
    """Every module of the service."""
    return [Module(_name_of(path), path.read_text()) for path in sorted((ROOT / "service").rglob("*.py"))]


def _name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
