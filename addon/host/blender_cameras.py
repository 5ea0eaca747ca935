"""Blender's own cameras, and cameras of movie-clip tracking solves, as cameras of ours."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np

from ...inference.errors import CalibrationError, InputError
from ...inference.files.anipose_toml import write_anipose_toml
from ...inference.shapes import FloatArray
from ...inference.types import Camera, Intrinsics
from .axes import camera_from_blender, clip_distortion, clip_matrix
from .cameras import IMAGE_SIZE
from .parts import VIEW

_COEFFICIENTS = {
    "POLYNOMIAL": ("k1", "k2", "k3"),
    "DIVISION": ("division_k1", "division_k2"),
    "NUKE": ("nuke_k1", "nuke_k2"),
    "BROWN": ("brown_k1", "brown_k2", "brown_k3", "brown_k4", "brown_p1", "brown_p2"),
}
_WORST_FIT_PX = 0.5
_STILL_PX, _STILL_M = 0.1, 0.0005  # a camera that turns, zooms or moves less stands still
_SAME_FOCAL = 0.01  # relative difference between the lens of a camera and that of the clip behind it


@dataclass(frozen=True, eq=False)
class SceneCameras:
    """The cameras of a scene, in metres, and what is to be told about them."""

    cameras: tuple[Camera, ...]
    warnings: tuple[str, ...]

    @property
    def spacing_m(self) -> FloatArray:
        """(V, V) distances between the cameras."""
        centres = np.array([camera.centre for camera in self.cameras])
        return np.linalg.norm(centres[:, None] - centres[None], axis=-1)


def export_cameras(
    context: bpy.types.Context, path: Path, names: Sequence[str] = (), frame: int | None = None
) -> SceneCameras:
    """Write cameras of the scene as aniposelib TOML in metres, the file that ``[calibration] source`` reads.

    Args:
        context: holds the scene; its current frame stays.
        path: the ``.toml`` file.
        names: of the cameras; all where there are none.
        frame: in which the cameras stand where they are wanted; None: they must stand still over the scene's frames.

    Returns:
        What was written.

    Raises:
        InputError: a camera is missing, moves, or has a lens that the solver does not know.
    """
    found = scene_cameras(context, names, frame)
    write_anipose_toml(path, found.cameras)
    return found


def scene_cameras(context: bpy.types.Context, names: Sequence[str] = (), frame: int | None = None) -> SceneCameras:
    """Read cameras of the scene: their poses as evaluated, with constraints, parents and camera solves.

    Convention:
        named as the view for cameras that Sightline made, else as the object. Lengths times the scene's unit scale are
        metres. Pixels are those of the clip of a Camera Solver constraint, else of the clip behind the camera, else of
        the view (for cameras that Sightline made), else of the render. A camera solve takes the whole lens from its
        clip, any other camera only the distortion.

    Args:
        context: holds the scene.
        names: as in `export_cameras`.
        frame: as in `export_cameras`.

    Returns:
        The cameras, and warnings.

    Raises:
        InputError: as `export_cameras`.
    """
    scene = context.scene
    items = _chosen(scene, names)
    before = scene.frame_current, scene.frame_subframe
    warnings: list[str] = []
    try:
        scene.frame_set(scene.frame_start if frame is None else frame)
        first = [_camera(context, item, warnings) for item in items]
        if frame is None and any(_may_move(item) for item in items):
            for number in range(scene.frame_start + 1, scene.frame_end + 1):
                scene.frame_set(number)
                for item, camera in zip(items, first, strict=True):
                    _check_still(camera, _camera(context, item, []), scene.frame_start, number)
    finally:
        scene.frame_set(before[0], subframe=before[1])
    listed = [camera.name for camera in first]
    for name in listed:
        if listed.count(name) > 1:
            raise InputError(f"two cameras are called {name!r} (cameras of two takes?); name the ones that are wanted")
    return SceneCameras(tuple(first), tuple(warnings))


def _chosen(scene: bpy.types.Scene, names: Sequence[str]) -> list[bpy.types.Object]:
    cameras = sorted((item for item in scene.objects if item.type == "CAMERA"), key=lambda item: item.name)
    if not cameras:
        raise InputError("the scene has no camera")
    if not names:
        return cameras
    chosen = []
    for name in names:
        item = next((item for item in cameras if item.name == name), None)
        item = item or next((item for item in cameras if item.get(VIEW) == name), None)
        if item is None:
            raise InputError(f"the scene has no camera {name!r}; it has {', '.join(item.name for item in cameras)}")
        chosen.append(item)
    return chosen


def _camera(context: bpy.types.Context, item: bpy.types.Object, warnings: list[str]) -> Camera:
    """Read one camera in the current frame."""
    scene, depsgraph = context.scene, context.evaluated_depsgraph_get()
    evaluated = item.evaluated_get(depsgraph)
    name = str(item.get(VIEW, item.name))
    if evaluated.data.type != "PERSP":
        raise CalibrationError(
            f"camera {name!r} is not a perspective camera ({evaluated.data.type.lower()}); leave it out"
        )
    solve, clip = _clip(scene, item)
    size, aspect = _picture(scene, item, clip)
    projection = evaluated.calc_matrix_camera(depsgraph, x=size[0], y=size[1], scale_x=aspect[0], scale_y=aspect[1])
    matrix = np.array(evaluated.matrix_world, dtype=float)
    matrix[:3, 3] *= scene.unit_settings.scale_length
    camera = camera_from_blender(name, matrix, np.array(projection, dtype=float), size)
    if clip is None:
        return camera
    lens = _clip_lens(name, clip, camera.intrinsics, solve, warnings)
    return Camera(lens, camera.R, camera.t)


def _clip(scene: bpy.types.Scene, item: bpy.types.Object) -> tuple[bool, bpy.types.MovieClip | None]:
    """Whether a camera solve moves the camera, and the clip that belongs to it."""
    for constraint in item.constraints:
        if constraint.type == "CAMERA_SOLVER" and not constraint.mute and constraint.influence > 0:
            clip = scene.active_clip if constraint.use_active_clip else constraint.clip
            if clip is not None:
                if not clip.tracking.objects.active.reconstruction.is_valid:
                    raise CalibrationError(
                        f"camera {item.name!r}: its clip {clip.name!r} is not solved; solve it first"
                    )
                return True, clip
    shown = (b.clip for b in item.data.background_images if b.source == "MOVIE_CLIP" and b.clip is not None)
    return False, next(shown, None)


def _picture(
    scene: bpy.types.Scene, item: bpy.types.Object, clip: bpy.types.MovieClip | None
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Size of the pictures, px, and how wide and tall a pixel is."""
    render = scene.render
    if clip is not None:
        if min(clip.size) < 1:
            raise CalibrationError(
                f"clip {clip.name!r} cannot be read, so its picture size is unknown: {clip.filepath}"
            )
        return (int(clip.size[0]), int(clip.size[1])), (1.0, 1.0)
    if IMAGE_SIZE in item:
        return (int(item[IMAGE_SIZE][0]), int(item[IMAGE_SIZE][1])), (1.0, 1.0)
    share = render.resolution_percentage / 100
    size = max(1, int(render.resolution_x * share)), max(1, int(render.resolution_y * share))
    return size, (render.pixel_aspect_x, render.pixel_aspect_y)


def _clip_lens(name: str, clip: bpy.types.MovieClip, own: Intrinsics, solve: bool, warnings: list[str]) -> Intrinsics:
    """Return the lens of a clip: all of it for a camera solve, else the camera's own with the clip's distortion."""
    tracker, size = clip.tracking.camera, own.image_size
    K = clip_matrix(size, tracker.focal_length_pixels, tuple(tracker.principal_point_pixels), tracker.pixel_aspect)
    model = tracker.distortion_model
    numbers = np.array([getattr(tracker, key) for key in _COEFFICIENTS.get(model, ())], dtype=float)
    try:
        distortion, error_px = clip_distortion(model, numbers, K, size)
    except CalibrationError as problem:
        raise CalibrationError(f"camera {name!r}, clip {clip.name!r}: {problem}") from None
    where = f"camera {name!r}, clip {clip.name!r}"
    if error_px > _WORST_FIT_PX:
        raise CalibrationError(
            f"{where}: OpenCV's lens comes no nearer to {model} than {error_px:.2g} px; solve the clip's lens with the "
            "model Polynomial, Brown or Division"
        )
    if error_px:
        warnings.append(f"{where}: its lens ({model}) was converted by fitting, largest error {error_px:.2g} px")
    if not solve and numbers.any() and abs(K[0, 0] / own.K[0, 0] - 1) > _SAME_FOCAL:
        warnings.append(
            f"{where}: focal length {own.K[0, 0]:.0f} px of the camera and {K[0, 0]:.0f} px of the clip differ; the "
            "camera's is used, with the clip's distortion"
        )
    return replace(own, K=K if solve else own.K, distortion=distortion, distortion_model="opencv")


def _may_move(item: bpy.types.Object) -> bool:
    """Whether anything that could move a camera stands on it or above it."""
    chain: Iterable[bpy.types.Object] = _with_parents(item)
    return any(link.animation_data or link.constraints for link in chain) or bool(item.data.animation_data)


def _with_parents(item: bpy.types.Object) -> Iterable[bpy.types.Object]:
    link: bpy.types.Object | None = item
    while link is not None:
        yield link
        link = link.parent


def _check_still(before: Camera, now: Camera, first: int, frame: int) -> None:
    turned_px = float(np.linalg.norm(now.R @ before.R.T - np.eye(3))) * before.intrinsics.K[0, 0]
    zoomed_px = float(np.abs(now.intrinsics.K - before.intrinsics.K).max())
    moved_m = float(np.linalg.norm(now.centre - before.centre))
    if max(turned_px, zoomed_px) > _STILL_PX or moved_m > _STILL_M:
        raise CalibrationError(
            f"camera {before.name!r} moves: in frame {frame} it stands {1000 * moved_m:.1f} mm from where it stood in "
            f"frame {first}, and its picture has moved by {max(turned_px, zoomed_px):.1f} px; the solver takes cameras "
            "that stand still: leave it out, or say the frame in which all cameras stand as in the footage"
        )
