"""What the overlays show: each take of the scene with its solution, read once and kept until the file changes."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import bpy
import numpy as np

from ...inference.errors import InputError
from ...inference.files.kept_keypoints import KeptKeypoints, read_kept
from ...inference.files.solution import read_solution
from ...inference.geometry.camera_path import camera_at
from ...inference.shapes import FloatArray
from ...inference.types import Camera, Solution
from ..host.parts import KIND, SOLVED, TAKE, Part
from ..host.scene import FRAME_START
from ..host.uncertainty import TakeUncertainty, keypoint_residuals, uncertainty_of

SOLUTION = "sightline_solution"  # on a take's collection: the file that it was made from
_MOST_KEPT = 8
_UNCERTAINTY = "uncertainty"
Read = TypeVar("Read")
_KEPT: dict[tuple[str, str], tuple[int, Any]] = {}  # what is read of which file -> time of change, result


class ShownTake(NamedTuple):
    """One take of a scene."""

    home: bpy.types.Collection
    take: str
    data: TakeUncertainty
    start: int  # scene frame of the first frame

    def index(self, frame: float) -> int | None:
        """Return the take's frame that a scene's frame shows; None outside of it."""
        number = round(frame - self.start)
        return number if 0 <= number < len(self.data.sigma) else None

    def camera(self, view: int, index: int) -> Camera:
        """Return a view's camera as it stands in one of the take's frames."""
        solution = self.data.solution
        return camera_at(solution.rig.cameras[view], float(solution.solved.timestamps_s[index]))

    def armature(self, person: int) -> bpy.types.Object | None:
        """Return a person's armature if it is there and visible."""
        return self._visible((person, -1), "armature", None)

    def ellipsoid(self, person: int, joint: int) -> bpy.types.Object | None:
        """Return a joint's ellipsoid if it is there and visible."""
        return self._visible((person, joint), "ellipsoid", self.data.solution.solved.joint_names[joint])

    def _visible(self, key: tuple[int, int], kind: str, joint: str | None) -> bpy.types.Object | None:
        pointer = self.data.pointers.get(key)
        if pointer is None:
            part = Part(kind, self.take, SOLVED, person=key[0], joint=joint)
            pointer = self.data.pointers[key] = part.pointer
        item = self.home.get(pointer)
        return item if isinstance(item, bpy.types.Object) and item.visible_get() else None


def shown_takes(scene: bpy.types.Scene) -> Iterator[ShownTake]:
    """Yield every take of a scene whose solution is still there.

    Raises:
        InputError: a solution cannot be read.
    """
    for home in scene.collection.children_recursive:
        if home.get(KIND) != "take" or not home.get(SOLUTION):
            continue
        data = _read(home[SOLUTION], _UNCERTAINTY, _read_uncertainty)
        if data is not None:
            yield ShownTake(home, home[TAKE], data, int(home.get(FRAME_START, scene.frame_start)))


def shown_take(scene: bpy.types.Scene, take: str) -> ShownTake:
    """Return one take of a scene.

    Raises:
        InputError: it is not there, or its solution is not.
    """
    found = next((one for one in shown_takes(scene) if one.take == take), None)
    if found is None:
        raise InputError(f"the solution of {take!r} is not there any more; solve the take again")
    return found


class ShownKeypoints(NamedTuple):
    """The 2D keypoints that a take was solved from."""

    kept: KeptKeypoints
    residual_px: FloatArray  # (V, T, P, K)


def shown_keypoints(shown: ShownTake) -> ShownKeypoints | None:
    """Return the keypoints beside a solution; None where none were kept, or they are of other frames or people."""
    solution = Path(bpy.path.abspath(shown.home[SOLUTION]))

    def prepare(path: Path) -> ShownKeypoints | None:
        kept = read_kept(path)
        fits = kept.rig.names == shown.data.solution.rig.names
        fits = fits and kept.views[0].score.shape[:2] == shown.data.sigma.shape[:2]
        return ShownKeypoints(kept, keypoint_residuals(shown.data, kept.views)) if fits else None

    name = f"keypoints of {solution.stat().st_mtime_ns}"
    return _read(str(solution.with_name("keypoints.kept")), name, prepare)


def read_beside(shown: ShownTake, what: str, read: Callable[[Path], Read]) -> Read | None:
    """Read something of a take's solution, once for each state of the file; None where the file is gone."""
    return _read(shown.home[SOLUTION], what, read)


def _read_uncertainty(path: Path) -> TakeUncertainty:
    return uncertainty_of(read_solution(path))


def remember_uncertainty(path: Path, solution: Solution) -> None:
    """Prepare a solution that was just read; touches no bpy, so it may run in a thread."""
    _KEPT[str(path), _UNCERTAINTY] = path.stat().st_mtime_ns, uncertainty_of(solution)


def _read(path: str, what: str, read: Callable[[Path], Read]) -> Read | None:
    """Read a file once for each of its states; None where it is not there."""
    file = Path(bpy.path.abspath(path))
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        return None
    before = _KEPT.get((str(file), what))
    if before is not None and before[0] == changed:
        return before[1]
    result = read(file)
    while len(_KEPT) >= _MOST_KEPT:
        _KEPT.pop(next(iter(_KEPT)))
    _KEPT[str(file), what] = changed, result
    return result


def forget() -> None:
    """Drop everything that was read."""
    _KEPT.clear()


def matrix_of(item: bpy.types.Object) -> FloatArray:
    """Return an object's (4, 4) world matrix."""
    return np.array([value for row in item.matrix_world for value in row]).reshape(4, 4)
