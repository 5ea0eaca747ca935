"""Solve takes without a window: the .blend and the files for the next tool.

    blender --background [SCENE.blend] --python tools/batch_solve.py -- TAKE.toml… --out DIR --export fbx,trc
    python tools/batch_solve.py -- TAKE.toml… --out DIR          (with the bpy module)

Does what the panel Solve 3D Pose does, through the same function. With several takes each has its folder
DIR/<take name>/. Run inside an open .blend it updates that scene and saves it under its own name.
Exit codes: 0 done; 2 the input is wrong (one line on stderr); 3 the solve failed; 130 cancelled.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

import bpy

ROOT = Path(__file__).resolve().parent.parent
ALIAS = "sightline"  # the root package's name here, whatever the folder is called


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the command in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the exit code of wrong input."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line, everything after ``--``."""
    parser = Parser(prog="batch_solve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("takes", type=Path, nargs="+", metavar="TAKE.toml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    formats = "fbx,fbx:unreal,fbx:unity,fbx:maya,bvh,usd,gltf,trc,c3d,csv"
    parser.add_argument("--export", default="", metavar="FORMATS", help=formats)
    parser.add_argument("--rig", default="", metavar="NAME", help="naming of the exported bones: a file of addon/rigs")
    parser.add_argument("--rest", default="", choices=("T", "A"), help="rest pose of --rig, instead of its usual one")
    parser.add_argument("--path", default="hips", choices=("hips", "root", "in_place"), help="what of --rig carries it")
    parser.add_argument("--person", type=int, default=0, metavar="N", help="export only this person, counted from 1")
    parser.add_argument("--frames", default="", metavar="FIRST:LAST", help="export only these frames of the scene")
    parser.add_argument("--ellipsoids", action="store_true", help="also the ellipsoids, in FBX, USD and glTF")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--progress", choices=("bar", "json", "none"), default="bar")
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")
    return parser.parse_args(arguments)


def load_extension() -> None:
    """Import the checkout as one package; its folder may have any name."""
    if ALIAS not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            ALIAS, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[ALIAS] = module
        spec.loader.exec_module(module)


def part(name: str) -> ModuleType:
    """Return one module of the extension."""
    return importlib.import_module(f"{ALIAS}.{name}")


def main(arguments: Sequence[str]) -> int:
    """Solve all takes; return the exit code of the first that failed."""
    try:
        options = parse(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    load_extension()
    errors = part("inference.errors")
    try:
        with _registered(), _signals_cancel():
            return _solve_all(options)
    except KeyboardInterrupt:
        return failed("cancelled", errors.Cancelled.exit_code, options.debug)
    except errors.SolveError as problem:
        return failed(str(problem), problem.exit_code, options.debug)
    except Exception as problem:  # noqa: BLE001 - the outermost frame of the command
        text = f"unexpected {type(problem).__name__}: {problem}; run again with --debug and report what it shows"
        return failed(text, errors.SolveError.exit_code, options.debug)


def failed(message: str, code: int, debug: bool) -> int:
    """Say in one line what went wrong; return the exit code."""
    if debug:
        traceback.print_exc()
    sys.stderr.write(" ".join(message.split()) + "\n")
    sys.stderr.flush()
    return code


def _solve_all(options: argparse.Namespace) -> int:
    """Check everything that can be checked before the first solve, then solve take after take."""
    solving, errors = part("addon.solving"), part("inference.errors")
    exporting = part("addon.host.export_formats")
    formats = [exporting.parse_format(name) for name in options.export.split(",") if name.strip()]
    exporting.check_formats(formats)
    _check_choice(options)
    settings = part("inference.take").split_overrides(options.settings)
    requests = [solving.request_for(path, options.out, settings) for path in options.takes]
    names = [request.take.name for request in requests]
    for name in names:
        if names.count(name) > 1:
            raise errors.InputError(f"two takes are named {name!r}; their results would overwrite each other")
    opened = Path(bpy.data.filepath) if bpy.data.filepath else None
    code = 0
    for request in requests:
        if len(requests) > 1:
            request = solving.Request(request.take, request.out / request.take.name, settings)
        try:
            _solve_one(request, formats, opened, options)
        except errors.Cancelled:
            raise
        except errors.SolveError as problem:
            code = code or failed(str(problem), problem.exit_code, options.debug)
    return code


def _solve_one(request: Any, formats: list[str], opened: Path | None, options: argparse.Namespace) -> None:
    solving = part("addon.solving")
    if opened is None:
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with _shown(options.progress) as show:
        built = solving.solve_blocking(bpy.context, request, show)
    for warning in built.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    blend = opened or request.out / f"{request.take.name}.blend"
    save(blend)
    solution = part("inference.files.solution").read_solution(request.out / "solution.npz")
    stem = request.out / request.take.name
    written = solving.export_take(bpy.context, _exported(request.take.name, solution, options), formats, stem)
    sys.stderr.write(f"{request.take.name}: wrote {', '.join(str(path) for path in [blend, *written])}\n")


def _check_choice(options: argparse.Namespace) -> None:
    """Refuse a rig, person or range that cannot be meant."""
    errors = part("inference.errors")
    if options.rig:
        part("addon.host.rig_files").find_rig(options.rig)
    elif options.rest or options.path != "hips":
        raise errors.InputError("--rest and --path need --rig: the armature as solved has its own rest pose")
    if options.person < 0:
        raise errors.InputError(f"--person counts from 1, not {options.person}")
    _frames(options.frames)


def _frames(text: str) -> tuple[int, int] | None:
    """Read FIRST:LAST; None where nothing is said."""
    if not text:
        return None
    ends = text.split(":")
    if len(ends) != 2 or not all(end.strip().lstrip("-").isdigit() for end in ends) or int(ends[0]) > int(ends[1]):
        raise part("inference.errors").InputError(f"--frames is FIRST:LAST, not {text!r}")
    return int(ends[0]), int(ends[1])


def _exported(take: str, solution: Any, options: argparse.Namespace) -> Any:
    """Return what the command line says of the export."""
    exporting = part("addon.host.export")
    rig = None
    if options.rig:
        target = part("addon.host.rig_files").find_rig(options.rig)
        rig = exporting.RigChoice(target, solution, options.rest, options.path)
    persons = (options.person - 1,) if options.person else ()
    return exporting.Exported(take, solution.solved, options.ellipsoids, persons, _frames(options.frames), rig)


def save(path: Path) -> None:
    """Save the file whole, compressed and without a backup copy beside it."""
    kept = bpy.context.preferences.filepaths
    versions, kept.save_version = kept.save_version, 0
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=True, check_existing=False)
    finally:
        kept.save_version = versions


@contextmanager
def _registered() -> Iterator[None]:
    """Register our classes and remove them whatever happens; where the installed extension is on, leave its own.

    A class left behind hangs the exit of Blender 4.5's bpy module and crashes that of 4.2.
    """
    if hasattr(bpy.types.Scene, "sightline"):
        yield
        return
    part("addon").register()
    try:
        yield
    finally:
        part("addon").unregister()


@contextmanager
def _signals_cancel() -> Iterator[None]:
    """Make Ctrl-C and a farm's SIGTERM cancel the solve; Blender would swallow the first."""

    def cancel(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: Blender's own, in C


@contextmanager
def _shown(kind: str) -> Iterator[Any]:
    """Show the child's progress: its own JSON lines on stdout, or a bar (plain lines without a terminal)."""
    if kind == "json":

        def pass_on(event: Any) -> None:
            sys.stdout.write(event.line + "\n")
            sys.stdout.flush()

        yield pass_on
        return
    progress = part("inference.progress")
    shown = progress.BarProgress() if kind == "bar" else progress.Progress()
    with ExitStack() as stack:
        state: dict[str, Any] = {"stage": None, "done": 0, "advance": None}

        def step(event: Any) -> None:
            if event.stage != state["stage"]:
                if event.done:  # the end of a stage around the one that was shown
                    return
                stack.close()
                advance = stack.enter_context(shown.stage(event.stage, event.total))
                state.update(stage=event.stage, done=0, advance=advance)
            while state["done"] < event.done:
                state["advance"]()
                state["done"] += 1

        yield step


def end_process(code: int) -> None:
    """Leave with this code. Blender returns 0 whatever a script raises, and old versions crash on the way out."""
    sys.stdout.flush()
    sys.stderr.flush()
    inside_blender = bool(bpy.app.binary_path)
    if inside_blender and code == 0:
        return  # other --python scripts may follow
    own = Path(bpy.app.tempdir)
    if own.parent == Path(tempfile.gettempdir()) and own.name.startswith("blender_"):
        shutil.rmtree(own, ignore_errors=True)
    os._exit(code)


if __name__ == "__main__":
    end_process(main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]))
