"""Blender's own cameras, and cameras of movie-clip tracking solves, as cameras of ours."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import bpy
import numpy as np

from ...inference.errors import CalibrationError, InputError
from ...inference.files.anipose_toml import write_anipose_toml
from ...inference.files.camera_table import FramePath
from ...inference.geometry.camera_path import centres_of
from ...inference.shapes import FloatArray
from ...inference.types import Camera, Intrinsics
from .axes import camera_from_blender, clip_distortion, clip_matrix, lenses_from_blender, poses_from_blender
from .camera_stage import Lens, see
from .cameras import IMAGE_SIZE
from .parts import VIEW
from .picture_frames import Pictures, ViewInTake, camera_solve, pictures_of

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
    paths: Mapping[str, FramePath] = field(default_factory=dict)  # of those that move; they stand in their first pose

    @property
    def spacing_m(self) -> FloatArray:
        """(V, V) distances between the cameras."""
        centres = np.array([camera.centre for camera in self.cameras])
        return np.linalg.norm(centres[:, None] - centres[None], axis=-1)


def export_cameras(
    context: bpy.types.Context,
    path: Path,
    names: Sequence[str] = (),
    frame: int | None = None,
    views: Mapping[str, ViewInTake] = {},
) -> SceneCameras:
    """Write cameras of the scene as aniposelib TOML in metres, the file that ``[calibration] source`` reads.

    Args:
        context: holds the scene; its current frame stays.
        path: the ``.toml`` file.
        names: of the cameras; all where there are none.
        frame: in which the cameras stand where they are wanted; None: they may move, picture by picture of their video.
        views: which pictures of their videos a take uses, by the name of the view; as `pictures_of`.

    Returns:
        What was written.

    Raises:
        InputError: a camera is missing, zooms, or has a lens that the solver does not know; or it moves, and nothing
            says when.
    """
    found = scene_cameras(context, names, frame, views)
    write_anipose_toml(path, found.cameras, found.paths)
    return found


def scene_cameras(
    context: bpy.types.Context,
    names: Sequence[str] = (),
    frame: int | None = None,
    views: Mapping[str, ViewInTake] = {},
) -> SceneCameras:
    """Read cameras of the scene: their poses as evaluated, with constraints, parents, drivers and camera solves.

    Convention:
        named as the view for cameras that Sightline made, else as the object. Lengths times the scene's unit scale are
        metres. Pixels are those of the clip of a Camera Solver constraint, else of the clip behind the camera, else of
        the view (for cameras that Sightline made), else of the render. A camera solve takes the whole lens from its
        clip, any other camera only the distortion. A camera that turns by less than 0.1 px and moves by less than
        0.5 mm from its first pose stands still; any other has a pose for each of its video's pictures, `pictures_of`.

    Args:
        context: holds the scene.
        names: as in `export_cameras`.
        frame: as in `export_cameras`.
        views: as in `export_cameras`.

    Returns:
        The cameras, and warnings.

    Raises:
        InputError: as `export_cameras`.
    """
    scene = context.scene
    items = [_Item.of(scene, item) for item in _chosen(scene, names)]
    listed = [item.name for item in items]
    for name in listed:
        if listed.count(name) > 1:
            raise InputError(f"two cameras are called {name!r} (cameras of two takes?); name the ones that are wanted")
    once = Pictures(np.zeros(1), np.array([float(scene.frame_start if frame is None else frame)]))
    shown = [
        pictures_of(scene, item.object, item.clip, item.solve, views.get(item.name))
        if frame is None and _may_move(item.object)
        else once
        for item in items
    ]
    every = np.unique(np.concatenate([pictures.frames for pictures in shown]))
    seen = see(context, [item.object for item in items], [item.lens for item in items], every)
    cameras, paths, warnings = [], {}, []
    for n, (item, pictures) in enumerate(zip(items, shown, strict=True)):
        index = np.searchsorted(every, pictures.frames)
        matrices = seen.matrix_world[n, index]
        matrices[:, :3, 3] *= scene.unit_settings.scale_length
        camera, path = _standing(item, pictures, matrices, seen.projection[n, index], warnings)
        if path is not None:
            paths[item.name] = path
            warnings += pictures.warnings
        cameras.append(camera)
    return SceneCameras(tuple(cameras), tuple(warnings), paths)


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


@dataclass(frozen=True)
class _Item:
    """A camera of the scene with what its pictures are like."""

    name: str
    object: bpy.types.Object
    solve: bool  # whether a camera solve moves it
    clip: bpy.types.MovieClip | None
    lens: Lens

    @classmethod
    def of(cls, scene: bpy.types.Scene, item: bpy.types.Object) -> _Item:
        name = str(item.get(VIEW, item.name))
        if item.data.type != "PERSP":
            raise CalibrationError(
                f"camera {name!r} is not a perspective camera ({item.data.type.lower()}); leave it out"
            )
        solve, clip = _clip(scene, item)
        return cls(name, item, solve, clip, Lens(*_picture(scene, item, clip)))


def _standing(
    item: _Item, pictures: Pictures, matrices: FloatArray, projections: FloatArray, warnings: list[str]
) -> tuple[Camera, FramePath | None]:
    """Return a camera in its first pose (N, 4, 4), and its path if it moves."""
    camera = camera_from_blender(item.name, matrices[0], projections[0], item.lens.size)
    if item.clip is not None:
        camera = camera.with_lens(_clip_lens(item.name, item.clip, camera.intrinsics, item.solve, warnings))
    if not item.solve:  # which has the clip's lens, whatever the camera's does
        _check_lens(item.name, lenses_from_blender(projections, item.lens.size), pictures.frames)
    R, t = poses_from_blender(item.name, matrices)
    turned_px = np.linalg.norm(R @ camera.R.T - np.eye(3), axis=(-1, -2)) * camera.intrinsics.K[0, 0]
    moved_m = np.linalg.norm(centres_of(R, t) - camera.centre, axis=-1)
    if turned_px.max() <= _STILL_PX and moved_m.max() <= _STILL_M:
        return camera, None
    return camera, FramePath(pictures.numbers, R, t)


def _clip(scene: bpy.types.Scene, item: bpy.types.Object) -> tuple[bool, bpy.types.MovieClip | None]:
    """Whether a camera solve moves the camera, and the clip that belongs to it."""
    for constraint in item.constraints:
        if constraint.type == "CAMERA_SOLVER" and not constraint.mute and constraint.influence > 0:
            clip = scene.active_clip if constraint.use_active_clip else constraint.clip
            if clip is not None:
                if not camera_solve(clip).is_valid:
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
    return bool(item.data.animation_data) or any(_moved(link) for link in _with_parents(item))


def _moved(link: bpy.types.Object) -> bool:
    bones = bool(link.pose) or link.parent_type not in ("OBJECT", "LATTICE", "ARMATURE")
    return bool(link.animation_data or link.constraints or link.rigid_body or bones)


def _with_parents(item: bpy.types.Object) -> Iterable[bpy.types.Object]:
    link: bpy.types.Object | None = item
    while link is not None:
        yield link
        link = link.parent


def _check_lens(
    name: str,
    K: FloatArray,  # (N, 3, 3)
    frames: FloatArray,  # (N,)
) -> None:
    """Refuse a lens that zooms or shifts."""
    changed_px = np.abs(K - K[0]).max(axis=(-1, -2))
    if changed_px.max() > _STILL_PX:
        first = int((changed_px > _STILL_PX).argmax())
        raise CalibrationError(
            f"camera {name!r} zooms or shifts its lens: in frame {frames[first]:g} it differs by "
            f"{changed_px[first]:.1f} px from frame {frames[0]:g}, in the end by {changed_px[-1]:.1f} px; the solver "
            "takes lenses that stay as they are: take away the lens's keys, cut the take where it zooms, or leave the "
            "camera out"
        )
