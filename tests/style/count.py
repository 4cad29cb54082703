"""The figures of the house style, counted over the tree.

Takes: the files that git knows or would add. Gives: a table, a line for each violation, exit code
1 if there is one. Never changes a file; what ruff can check it leaves to ruff.

    python -m tests.style.count
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("gateway", "connectors", "catalog", "client", "tests", "bench")
FUNCTION_P95, FUNCTION_MOST, FILE_MOST, CONNECTOR_MOST = 25, 60, 500, 200
FORBIDDEN_NAMES = frozenset({"utils", "helpers", "common", "manager"})
# The contract whose modules lie between parse and plan: what those do not understand they refuse.
PURE_CONTRACT = "From parse to plan: no network, no process, no clock, no chance"
BROAD = frozenset({"Exception", "BaseException"})
# Put together here, so that this file does not find itself.
MACHINE_PATHS = re.compile("(?<![\\w.:])/(" + "|".join(("work", "tmp", "root", "home")) + ")/")
REGISTRY_HOSTS = re.compile("|".join((r"pypi\.org", r"pythonhosted\.org", r"registry\.npmjs")))
PENDING = re.compile("|".join((r"\bTO" r"DO\b", r"\bFIX" r"ME\b")))


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its code lines."""

    place: str
    name: str
    lines: int


@dataclass(frozen=True, slots=True)
class File:
    """A Python file, its lines and its functions."""

    path: Path
    lines: int
    functions: tuple[Function, ...]

    @property
    def room(self) -> str:
        """The folder at the root that it lies in."""
        return self.path.parts[0]


def tracked(root: Path = ROOT) -> tuple[Path, ...]:
    """Files of the tree: what git knows, and what it would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root, check=True, capture_output=True, text=True, timeout=60,
    ).stdout
    found = (Path(one) for one in sorted(set(listed.split("\0"))) if one)
    return tuple(one for one in found if (root / one).is_file())


def code_lines(text: str) -> frozenset[int]:
    """Numbers of the lines that hold code: neither blank, comment nor docstring."""
    lines: set[int] = set()
    skipped = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENDMARKER, tokenize.ENCODING,
    }  # fmt: skip
    for token in tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and _is_text(node.value):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return frozenset(lines)


def measure(path: Path, root: Path = ROOT) -> File:
    """Count a file."""
    text = (root / path).read_text(encoding="utf-8")
    code = code_lines(text)
    functions = (
        Function(f"{path}:{node.lineno}", node.name, _length(node, code))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return File(path, text.count("\n"), tuple(functions))


def percentile(values: Iterable[int], share: float) -> int:
    """The smallest value that at least that share of the values does not exceed."""
    ordered = sorted(values)
    if not ordered:
        return 0
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 100) * len(ordered) // 100) - 1))]


def violations(files: Iterable[File], root: Path = ROOT) -> Iterator[str]:
    """A line for each thing that the house style forbids in a Python file."""
    for file in files:
        if file.lines > FILE_MOST:
            yield f"{file.path}: {file.lines} lines, at most {FILE_MOST}"
        if _is_connector(file.path, root) and file.lines > CONNECTOR_MOST:
            yield f"{file.path}: {file.lines} lines, a connector has at most {CONNECTOR_MOST}"
        if set(file.path.with_suffix("").parts) & FORBIDDEN_NAMES:
            yield f"{file.path}: the name says nothing"
        for function in file.functions:
            if function.lines > FUNCTION_MOST:
                yield (
                    f"{function.place}: {function.name} has {function.lines} code lines, "
                    f"at most {FUNCTION_MOST}"
                )
        tree = ast.parse((root / file.path).read_text(encoding="utf-8"))
        if not ast.get_docstring(tree):
            yield f"{file.path}: the module does not say what it takes and gives"
        yield from _unannotated(file.path, tree)
        if _is_pure(file.path):
            yield from _broad(file.path, tree)


def text_violations(paths: Iterable[Path], root: Path = ROOT) -> Iterator[str]:
    """Paths of a machine, hosts of a registry and postponed work, in any text file."""
    for path in paths:
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATHS.search(line):
                yield f"{path}:{number}: a path of one machine"
            if REGISTRY_HOSTS.search(line) and path.name != "LICENSE":
                yield f"{path}:{number}: a registry's host"
            if PENDING.search(line):
                yield f"{path}:{number}: work put off"


def table(files: Iterable[File]) -> Iterator[str]:
    """The figures of each room."""
    rooms: dict[str, list[File]] = {}
    for file in files:
        rooms.setdefault(file.room, []).append(file)
    yield (
        f"{'room':<12}{'files':>6}{'lines':>8}{'median':>8}{'longest':>9}"
        f"{'functions':>11}{'median':>8}{'p95':>6}{'longest':>9}"
    )
    for room, held in rooms.items():
        lines = [one.lines for one in held]
        lengths = [function.lines for one in held for function in one.functions] or [0]
        yield (
            f"{room:<12}{len(held):>6}{sum(lines):>8}{median(lines):>8.0f}{max(lines):>9}"
            f"{len(lengths):>11}{median(lengths):>8.0f}{percentile(lengths, 0.95):>6}"
            f"{max(lengths):>9}"
        )


def too_long_in_general(files: Iterable[File]) -> Iterator[str]:
    """A line for each room whose functions are too long by and large."""
    rooms: dict[str, list[int]] = {}
    for file in files:
        rooms.setdefault(file.room, []).extend(one.lines for one in file.functions)
    for room, lengths in rooms.items():
        found = percentile(lengths, 0.95)
        if found > FUNCTION_P95:
            yield f"{room}: 95 of 100 functions have up to {found} lines, at most {FUNCTION_P95}"


def main() -> int:
    """Print the table and the violations."""
    paths = tracked()
    python = [one for one in paths if one.suffix == ".py" and one.parts[0] in ROOMS]
    files = [measure(one) for one in python]
    print(*table(files), sep="\n")  # noqa: T201  # this is the program's answer
    found = [*violations(files), *too_long_in_general(files), *text_violations(paths)]
    for one in found:
        print(one)  # noqa: T201  # this is the program's answer
    print(f"{len(found)} violations of the house style.")  # noqa: T201  # as above
    return 1 if found else 0


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef, code: frozenset[int]) -> int:
    return sum(1 for one in range(node.lineno, (node.end_lineno or node.lineno) + 1) if one in code)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_connector(path: Path, root: Path) -> bool:
    """A file with a table of abilities beside it is one kind of source."""
    return path.parts[0] == "connectors" and (root / path.with_suffix(".toml")).is_file()


@cache
def _pure_modules() -> tuple[str, ...]:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = configured["tool"]["importlinter"]["contracts"]
    return tuple(
        next(one["source_modules"] for one in contracts if one["name"] == PURE_CONTRACT)
    )


def _is_pure(path: Path) -> bool:
    name = ".".join(path.with_suffix("").parts)
    return any(name == one or name.startswith(f"{one}.") for one in _pure_modules())


def _unannotated(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [one.arg for one in named if one.annotation is None]
        if bare and bare[0] in ("self", "cls"):
            bare = bare[1:]
        if bare or node.returns is None:
            yield f"{path}:{node.lineno}: {node.name} is not annotated whole"


def _broad(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None
            or any(isinstance(one, ast.Name) and one.id in BROAD for one in ast.walk(node.type))
        ):
            yield f"{path}:{node.lineno}: a broad except between parse and plan"


if __name__ == "__main__":
    sys.exit(main())
