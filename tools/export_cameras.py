"""Cameras of a Blender scene as a calibration: aniposelib TOML, metres.

    blender --background SCENE.blend --python tools/export_cameras.py -- --out cameras.toml
    python tools/export_cameras.py -- SCENE.blend --out cameras.toml          (with the bpy module)

Takes plain cameras and cameras of movie-clip solves, still or moving. One that moves has a pose for every picture of
its movie clip; without one, for every frame of the scene, the first of which is then its video's first picture.
--frame takes all cameras as they stand in one frame.
Exit codes: 0 done; 2 the input is wrong (one line on stderr); 3 anything else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this folder stands first on the path and the project does not

from tools.batch_solve import Parser, end_process, failed, load_extension, part  # noqa: E402


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line, everything after ``--``."""
    parser = Parser(prog="export_cameras", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, nargs="?", metavar="SCENE.blend", help="default: the opened one")
    parser.add_argument("--out", type=Path, required=True, metavar="CAMERAS.toml")
    parser.add_argument("--camera", action="append", default=[], metavar="NAME", help="only this one; can be repeated")
    parser.add_argument("--frame", type=int, help="take the cameras as they stand in this frame")
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Write the file; return the exit code."""
    try:
        options = parse(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    load_extension()
    errors, cameras = part("inference.errors"), part("addon.host.blender_cameras")
    try:
        if options.scene is not None:
            _open(options.scene, errors.InputError)
        found = cameras.export_cameras(bpy.context, options.out, options.camera, options.frame)
    except errors.SolveError as problem:
        return failed(str(problem), problem.exit_code, options.debug)
    except Exception as problem:  # noqa: BLE001 - the outermost frame of the command
        text = f"unexpected {type(problem).__name__}: {problem}; run again with --debug and report what it shows"
        return failed(text, errors.SolveError.exit_code, options.debug)
    for warning in found.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    spacing = found.spacing_m + np.diag(np.full(len(found.cameras), np.inf))
    for camera, row in zip(found.cameras, spacing, strict=True):
        width, height = camera.intrinsics.image_size
        nearest = f", {row.min():.3f} m to the nearest camera" if len(row) > 1 else ""
        path = found.paths.get(camera.name)
        moves = f", moves: {len(path.frames)} pictures from {path.frames[0]:g}" if path is not None else ""
        sys.stderr.write(f"{camera.name}: {width}x{height}, f = {camera.intrinsics.K[0, 0]:.1f} px{nearest}{moves}\n")
    sys.stderr.write(f"cameras written to {options.out}\n")
    return 0


def _open(scene: Path, error: type[Exception]) -> None:
    if not scene.is_file():
        raise error(f"{scene} does not exist")
    try:
        bpy.ops.wm.open_mainfile(filepath=str(scene))
    except RuntimeError as problem:
        raise error(f"{scene} cannot be opened: {' '.join(str(problem).split())}") from None


if __name__ == "__main__":
    end_process(main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]))
