"""One Blender camera per view, with its footage behind it."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
from mathutils import Matrix

from ...inference.types import Camera
from .axes import SENSOR_WIDTH_MM, blender_brown, camera_setting
from .parts import KIND, TAKE, VIEW, Claims, Part, digest, ensure_group

IMAGE_SIZE = "sightline_image_size"
WORST_ERROR_PX = 0.5


def build_camera(claims: Claims, take: str, camera: Camera, units_per_m: float) -> tuple[bpy.types.Object, list[str]]:
    """Make or update the camera of one view; return it, and warnings.

    Convention:
        what Blender cannot express (two focal lengths, lens distortion) stays out; where the focal
        lengths cost more than half a pixel, a warning says how much.
    """
    setting = camera_setting(camera)
    group = ensure_group(claims.home, "cameras")
    part = Part("camera", take, view=camera.name)
    item = claims.claim(part, group, camera.name, lambda: bpy.data.cameras.new(camera.name))
    matrix = Matrix(setting.matrix_world.tolist())
    matrix.translation *= units_per_m
    item.matrix_world = matrix
    item[IMAGE_SIZE] = list(camera.intrinsics.image_size)
    lens = item.data
    lens.type, lens.sensor_fit, lens.sensor_width = "PERSP", "HORIZONTAL", SENSOR_WIDTH_MM
    lens.lens, lens.shift_x, lens.shift_y = setting.lens_mm, setting.shift_x, setting.shift_y
    claims.seal(item)
    if setting.error_px <= WORST_ERROR_PX:
        return item, []
    return item, [
        f"view {camera.name!r}: fx and fy differ, and Blender has one focal length for a camera; "
        f"at the image border the Blender camera is up to {setting.error_px:.1f} px off the calibrated one"
    ]


def camera_fingerprint(item: bpy.types.Object) -> str:
    """Return a hash of where a camera stands and how it projects."""
    lens = item.data
    numbers = [*(value for row in item.matrix_basis for value in row), lens.lens, lens.shift_x, lens.shift_y]
    numbers += [lens.sensor_width, len(item.constraints)]
    return digest(lens.type, lens.sensor_fit, *(f"{value:.6g}" for value in numbers))


@dataclass(frozen=True)
class Backdrop:
    """The footage of one view and how it lies in the scene's time."""

    video: str  # absolute path, or pattern of an image sequence
    first_frame: float  # scene frame of the first picture
    scene_fps: float
    fps: float | None = None  # where the take states it; None: what the file says


def show_footage(item: bpy.types.Object, camera: Camera, backdrop: Backdrop) -> list[str]:
    """Put a view's footage behind its camera; return warnings.

    Convention:
        Blender plays a clip frame by frame, so footage of another rate than the scene's runs off; a
        warning says so. Of the lens, Blender undistorts OpenCV's first five coefficients.
    """
    path = first_file(backdrop.video)
    if path is None:
        return [f"view {camera.name!r}: no footage behind the camera, {backdrop.video} does not exist"]
    clip = _clip(item, camera, path)
    clip.frame_start = round(backdrop.first_frame)
    _enter_lens(clip, camera)
    background = next((b for b in item.data.background_images if b.clip == clip), None)
    if background is None:
        background = item.data.background_images.new()
        background.source, background.clip = "MOVIE_CLIP", clip
        background.frame_method, background.alpha, background.display_depth = "STRETCH", 1.0, "BACK"
        item.data.show_background_images = True
    background.clip_user.use_render_undistorted = bool(camera.intrinsics.distortion.any())
    warnings = []
    if tuple(clip.size) != camera.intrinsics.image_size:
        size, wanted = tuple(clip.size), camera.intrinsics.image_size
        warnings.append(f"view {camera.name!r}: Blender reads the footage as {size}, the solve as {wanted} px")
    fps = backdrop.fps or (clip.fps if clip.source == "MOVIE" else backdrop.scene_fps)
    if abs(fps - backdrop.scene_fps) > 0.01:
        warnings.append(
            f"view {camera.name!r}: the footage has {fps:g} frames per second and the scene {backdrop.scene_fps:g}; "
            "behind the camera it runs off"
        )
    return warnings


def _clip(item: bpy.types.Object, camera: Camera, path: Path) -> bpy.types.MovieClip:
    """Return our clip of this view and file; load it if needed. One of another file leaves with its last user."""
    for clip in list(bpy.data.movieclips):
        if (clip.get(KIND), clip.get(TAKE), clip.get(VIEW)) != ("clip", item[TAKE], camera.name):
            continue
        if Path(bpy.path.abspath(clip.filepath)) == path:
            return clip
        for background in [b for b in item.data.background_images if b.clip == clip]:
            item.data.background_images.remove(background)
    clip = bpy.data.movieclips.load(str(path))
    clip[KIND], clip[TAKE], clip[VIEW] = "clip", item[TAKE], camera.name
    return clip


def _enter_lens(clip: bpy.types.MovieClip, camera: Camera) -> None:
    """Give the clip the lens, so that Blender can undistort it: the five coefficients that its model Brown has too."""
    lens, (_, height) = camera.intrinsics, camera.intrinsics.image_size
    tracker = clip.tracking.camera
    tracker.units = "PIXELS"
    tracker.focal_length_pixels = float(lens.K[0, 0])
    tracker.principal_point_pixels = (lens.K[0, 2] + 0.5, height - (lens.K[1, 2] + 0.5))
    if lens.distortion_model == "opencv":
        tracker.distortion_model = "BROWN"
        k1, k2, k3, k4, p1, p2 = blender_brown(lens.distortion[:5])
        tracker.brown_k1, tracker.brown_k2, tracker.brown_k3, tracker.brown_k4 = k1, k2, k3, k4
        tracker.brown_p1, tracker.brown_p2 = p1, p2


def first_file(video: str) -> Path | None:
    """Return the file to load for a video or a pattern of an image sequence; None if there is none."""
    path = Path(video)
    if path.is_file():
        return path
    if "%" not in path.name or not path.parent.is_dir():
        return None
    return next(_sequence_files(path), None)


def _sequence_files(pattern: Path) -> Iterator[Path]:
    prefix, _, rest = pattern.name.partition("%")
    suffix = rest[rest.index("d") + 1 :] if "d" in rest else rest
    for path in sorted(pattern.parent.iterdir()):
        number = path.name[len(prefix) : len(path.name) - len(suffix)]
        if path.name.startswith(prefix) and path.name.endswith(suffix) and number.isdigit():
            yield path


def set_resolution(scene: bpy.types.Scene, camera: bpy.types.Object) -> bool:
    """Set the scene to the image size of one of our cameras; return whether the camera is ours."""
    size = camera.get(IMAGE_SIZE)
    if size is None:
        return False
    render = scene.render
    render.resolution_x, render.resolution_y = int(size[0]), int(size[1])
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    return True
