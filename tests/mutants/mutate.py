"""One defect put into the running gateway, and taken out again.

Takes: a `Mutant`: a file, a function in it, an expression or statement, what it becomes. Gives: a
context in which that function has the mutated code, for everybody who imported it. Never writes
to a file of the gateway.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Mutant:
    """A defect. `function` may be `Class.method`; `old` stands exactly once in it."""

    file: str
    function: str
    old: str
    new: str
    why: str

    def __str__(self) -> str:
        """Where and what."""
        return f"{self.file}:{self.function}: {self.old} -> {self.new}"


@contextlib.contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """The gateway with the defect in it."""
    module = importlib.import_module(mutant.file.removesuffix(".py").replace("/", "."))
    function = _function(module, mutant.function)
    kept = function.__code__
    function.__code__ = _code(module, mutant, kept)
    try:
        yield
    finally:
        function.__code__ = kept


def _function(module: ModuleType, name: str) -> FunctionType:
    owner: Any = module
    *outer, last = name.split(".")
    for one in outer:
        owner = getattr(owner, one)
    found = vars(owner)[last]
    made = found.fget if isinstance(found, property) else found
    assert isinstance(made, FunctionType)
    return made


def _code(module: ModuleType, mutant: Mutant, kept: CodeType) -> CodeType:
    tree = ast.parse(inspect.getsource(module))
    target = _definition(tree, mutant.function)
    replacer = _Replacer(mutant)
    replacer.visit(target)
    if replacer.found != 1:
        raise LookupError(f"{mutant}: found {replacer.found} times")
    compiled = compile(ast.fix_missing_locations(tree), module.__file__ or "", "exec")
    name = mutant.function.split(".")[-1]
    codes = [one for one in _codes(compiled) if one.co_name == name]
    return next(
        one
        for one in codes
        if one.co_firstlineno == kept.co_firstlineno and one.co_freevars == kept.co_freevars
    )


def _definition(tree: ast.AST, name: str) -> ast.AST:
    node = tree
    for part in name.split("."):
        node = next(
            one
            for one in ast.iter_child_nodes(node)
            if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name == part
        )
    return node


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


class _Replacer(ast.NodeTransformer):
    """Replaces the one node whose text is the mutant's."""

    def __init__(self, mutant: Mutant) -> None:
        """Read both texts as expressions, else as statements."""
        self.old = _parsed(mutant.old)
        self.new = mutant.new
        self.found = 0

    def visit(self, node: ast.AST) -> Any:  # noqa: ANN401 - as the class above has it
        if isinstance(node, type(self.old)) and ast.unparse(node) == ast.unparse(self.old):
            self.found += 1
            new = _parsed(self.new)
            if isinstance(node, ast.stmt) and isinstance(new, ast.expr):
                new = ast.Expr(new)
            return ast.copy_location(new, node)
        return self.generic_visit(node)


def _parsed(text: str) -> ast.AST:
    body = ast.parse(text).body
    if len(body) == 1 and isinstance(body[0], ast.Expr):
        return body[0].value
    return body[0]
