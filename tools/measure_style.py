"""Measures the size and shape of our code against the aims and limits of STYLE.md, section 3.

    python tools/measure_style.py [FOLDER…]

Prints the table; exit code 1 when a limit is broken, and every place that breaks it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("inference", "addon", "training", "tools", "tests")
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


@dataclass(frozen=True)
class Measure:
    """One row of the table: what is measured, its aim in words and as (quantile, value), its limit."""

    name: str
    aim: str
    aims: tuple[tuple[float, int], ...]
    limit: int


@dataclass(frozen=True)
class Value:
    """One measured value and where it stands."""

    value: int
    where: str


MEASURES = {
    "body": Measure("body of a function, lines", "median 10, 95 % 40", ((0.5, 10), (0.95, 40)), 80),
    "complexity": Measure("cyclomatic complexity", "95 % 8", ((0.95, 8),), 10),
    "parameters": Measure("parameters", "95 % 5", ((0.95, 5),), 7),
    "file": Measure("file, lines", "median 200", ((0.5, 200),), 500),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(function: Function) -> int:
    """Count the lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without the functions and classes defined inside it: those are counted by themselves."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.ClassDef):
            yield child
            yield from own_nodes(child)


def complexity(function: Function) -> int:
    """Count the independent paths as ruff's C901 does: 1, and 1 more for each statement that branches."""
    return 1 + sum(isinstance(node, BRANCHES) for node in own_nodes(function))


def parameters(function: Function) -> int:
    """Count the parameters, without self and cls."""
    args = function.args
    named = [*args.posonlyargs, *args.args]
    own = bool(named) and named[0].arg in ("self", "cls")
    return len(named) + len(args.kwonlyargs) + bool(args.vararg) + bool(args.kwarg) - own


def measure(path: Path) -> dict[str, list[Value]]:
    """Measure one file."""
    text = path.read_text(encoding="utf-8")
    functions = [node for node in ast.walk(ast.parse(text, str(path))) if isinstance(node, Function)]
    # The relative path in messages: the same on every machine.
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    values: dict[str, list[Value]] = {"file": [Value(len(text.splitlines()), str(shown))]}
    in_tests = "tests" in shown.parts
    for key, count in (("body", body_lines), ("complexity", complexity), ("parameters", parameters)):
        # A test takes its fixtures as parameters, as many as it needs.
        kept = [] if in_tests and key == "parameters" else functions
        values[key] = [Value(count(f), f"{shown}:{f.lineno} {f.name}") for f in kept]
    return values


def python_files(folders: Sequence[Path]) -> list[Path]:
    """List the Python files of the folders, and of the project's root."""
    return sorted({path for folder in folders for path in folder.rglob("*.py") if "__pycache__" not in path.parts})


def quantile(values: Sequence[int], share: float) -> int:
    """Return the smallest value that at least the given share of the values does not exceed."""
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)] if values else 0


def table(values: dict[str, list[Value]]) -> list[str]:
    """Return the lines of the table."""
    lines = [f"{'':26} {'count':>6} {'median':>7} {'95 %':>6} {'max':>6}  {'aim':20} {'limit':>5}"]
    for key, row in MEASURES.items():
        found = [value.value for value in values[key]]
        met = all(quantile(found, share) <= aim for share, aim in row.aims)
        cells = f"{len(found):6} {quantile(found, 0.5):7} {quantile(found, 0.95):6} {max(found, default=0):6}"
        lines.append(f"{row.name:26} {cells}  {row.aim:20} {row.limit:5}  {'ok' if met else 'aim missed'}")
    return lines


def broken(values: dict[str, list[Value]]) -> list[str]:
    """Return one line for every value beyond its limit."""
    return [
        f"{value.where}: {row.name}: {value.value}, the limit is {row.limit}"
        for key, row in MEASURES.items()
        for value in values[key]
        if value.value > row.limit
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure the folders named, or all of ours; return the exit code."""
    folders = [Path(a).resolve() for a in arguments] or [ROOT / name for name in FOLDERS]
    values: dict[str, list[Value]] = {key: [] for key in MEASURES}
    for path in python_files(folders):
        for key, found in measure(path).items():
            values[key] += found
    faults = broken(values)
    print("\n".join(table(values) + faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
