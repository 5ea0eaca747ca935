"""The rules of STYLE.md that can be read off the code: each returns one line per violation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

# Who may import whom: folder of the project -> top-level modules that nothing in it imports.
FORBIDDEN = {
    "inference": {
        "bpy",
        "mathutils",
        "bpy_extras",
        "bmesh",
        "torch",
        "addon",
        "training",
        "inference",
        "tools",
        "tests",
    },
    "addon": {"torch", "addon", "training", "inference", "tools", "tests"},
    "training": {"bpy", "mathutils", "bpy_extras", "bmesh", "addon", "tools", "tests"},
}
BLENDER = {"bpy", "mathutils", "bpy_extras", "bmesh", "gpu", "aud"}
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
BLIND_HANDLERS = {  # the outermost frame of the worker, of a command, of an operator (STYLE.md, section 8)
    "inference/worker.py",
    "inference/cli.py",
    "addon/operators/guarded.py",
}
LEFTOVER = re.compile(
    r"(?<![\w.])/(?:work|home|root|Users)/\w|[A-Z]:\\\\?Users|deb\.debian\.org|pypi\.org|pythonhosted\.org"
)


@dataclass(frozen=True)
class Source:
    """One file of the project: its path relative to the root, and its text."""

    path: PurePosixPath
    text: str

    @property
    def folder(self) -> str:
        return self.path.parts[0] if len(self.path.parts) > 1 else ""

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))


def imports(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    """Yield line, level (dots) and module of every import, also inside functions and through importlib."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.level, node.module or ""
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                module = node.args[0].value
                level = len(module) - len(module.lstrip("."))
                yield node.lineno, level, module.lstrip(".")


def forbidden_imports(source: Source) -> list[str]:
    """Absolute imports across a boundary; inside `addon` and `inference` ours are relative too."""
    forbidden = FORBIDDEN.get(source.folder, set())
    if str(source.path) == "addon/host/axes.py":
        forbidden = forbidden | BLENDER
    return [
        f"{source.path}:{line}: {source.folder} does not import {module.split('.')[0]} (by that name)"
        for line, level, module in imports(source.tree)
        if level == 0 and module.split(".")[0] in forbidden
    ]


def escaping_imports(source: Source) -> list[str]:
    """Relative imports that leave `inference`, or go from `addon` anywhere but to itself and `inference`."""
    if source.folder not in ("inference", "addon"):
        return []
    found = []
    for line, level, module in imports(source.tree):
        if not level:
            continue
        base = source.path.parts[:-1][: len(source.path.parts) - level]
        target = (*base, *module.split(".")) if module else base
        allowed = ("inference",) if source.folder == "inference" else ("addon", "inference")
        if len(source.path.parts) - level < 0 or (target and target[0] not in allowed):
            found.append(f"{source.path}:{line}: the relative import leaves {source.folder}")
        elif not target and source.folder == "inference":
            found.append(f"{source.path}:{line}: the relative import leaves inference")
    return found


def nameless_files(source: Source) -> list[str]:
    """Files and folders whose name does not say what is in them."""
    bad = NAMELESS.intersection(PurePosixPath(part).stem for part in source.path.parts)
    return [f"{source.path}: nobody can guess what is in {name!r}" for name in sorted(bad)]


def printing(source: Source) -> list[str]:
    """Calls of print where a log or a report belongs."""
    if source.folder not in ("inference", "addon", "training"):
        return []
    calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
    return [
        f"{source.path}:{call.lineno}: print"
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]


def blind_handlers(source: Source) -> list[str]:
    """Handlers of every exception outside of the three places that may have one."""
    if source.folder not in ("inference", "addon", "training") or str(source.path) in BLIND_HANDLERS:
        return []
    return [
        f"{source.path}:{node.lineno}: catches every exception"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and catches_everything(node.type)
    ]


def catches_everything(caught: ast.expr | None) -> bool:
    """Tell whether a handler's type is absent, or names (among others) the root of all exceptions."""
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in ("Exception", "BaseException") for name in names)


def leftovers(source: Source) -> list[str]:
    """Absolute paths of somebody's machine, and the hosts of package registries."""
    lines = enumerate(source.text.splitlines(), start=1)
    return [
        f"{source.path}:{n}: {m.group()}… belongs to one machine" for n, line in lines if (m := LEFTOVER.search(line))
    ]


RULES = {
    rule.__name__: rule
    for rule in (forbidden_imports, escaping_imports, nameless_files, printing, blind_handlers, leftovers)
}
