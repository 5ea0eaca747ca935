"""One Blender camera per view, with its footage behind it."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
from mathutils import Matrix

from ...inference.geometry.camera_path import poses_at
from ...inference.shapes import FloatArray
from ...inference.types import Camera
from .animation import action_fingerprint, our_actions, replace_action, write_curves
from .axes import SENSOR_WIDTH_MM, blender_brown, camera_setting, poses_in_blender
from .parts import KIND, TAKE, VIEW, Claims, Part, digest, ensure_group
from .picture_frames import PICTURES

IMAGE_SIZE = "sightline_image_size"
WORST_ERROR_PX = 0.5


@dataclass(frozen=True, eq=False)
class Clock:
    """When a solution's frames are, and where in the scene."""

    times_s: FloatArray  # (T,)
    frames: FloatArray  # (T,) of the scene


def build_camera(
    claims: Claims, take: str, camera: Camera, clock: Clock, units_per_m: float
) -> tuple[bpy.types.Object, list[str]]:
    """Make or update the camera of one view; return it, and warnings.

    Convention:
        one that moves is keyed in every frame of the solution. What Blender cannot express (two focal lengths, lens
        distortion) stays out; where the focal lengths cost more than half a pixel, a warning says how much.
    """
    setting = camera_setting(camera)
    group = ensure_group(claims.home, "cameras")
    part = Part("camera", take, view=camera.name)
    item = claims.claim(part, group, camera.name, lambda: bpy.data.cameras.new(camera.name))
    if camera.path is None:
        _stand(item, Matrix(setting.matrix_world.tolist()), units_per_m)
    else:
        _move(item, camera, clock, units_per_m)
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


def _stand(item: bpy.types.Object, matrix: Matrix, units_per_m: float) -> None:
    """Put a camera where it stays; what moved it in the solve before leaves."""
    before = our_actions(item.animation_data) if item.animation_data else []
    if before:
        item.animation_data_clear()
        item.rotation_mode = "XYZ"
        bpy.data.batch_remove([action for action in before if action.users == 0])
    matrix.translation *= units_per_m
    item.matrix_world = matrix


def _move(item: bpy.types.Object, camera: Camera, clock: Clock, units_per_m: float) -> None:
    """Key the pose of a camera that moves; between two frames it goes straight, as the solver has it."""
    place, rotation = poses_in_blender(*poses_at(camera, clock.times_s))
    item.rotation_mode = "QUATERNION"
    bag = replace_action(item)
    write_curves(bag, "location", clock.frames, place * units_per_m, "Camera")
    write_curves(bag, "rotation_quaternion", clock.frames, rotation, "Camera")


def camera_fingerprint(item: bpy.types.Object) -> str:
    """Return a hash of where a camera stands or how it moves, and how it projects."""
    lens, animation = item.data, item.animation_data
    moving = animation is not None and (animation.action is not None or bool(animation.nla_tracks))
    numbers = [] if moving else [value for row in item.matrix_basis for value in row]
    numbers += [lens.lens, lens.shift_x, lens.shift_y, lens.sensor_width, len(item.constraints)]
    motion = [action_fingerprint(item), item.rotation_mode] if moving else []
    return digest(lens.type, lens.sensor_fit, *(f"{value:.6g}" for value in numbers), *motion)


@dataclass(frozen=True)
class Backdrop:
    """The footage of one view and how it lies in the scene's time."""

    video: str | None  # absolute path, or pattern of an image sequence; None: there is none
    first_frame: float  # scene frame of the first picture
    scene_fps: float
    fps: float | None = None  # where the take states it; None: what the file says


def show_footage(item: bpy.types.Object, camera: Camera, backdrop: Backdrop) -> list[str]:
    """Put a view's footage behind its camera; return warnings.

    Convention:
        Blender plays a clip frame by frame, so footage of another rate than the scene's runs off; a
        warning says so. Of the lens, Blender undistorts OpenCV's first five coefficients.
    """
    if backdrop.video is None:
        return []
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


def remember_pictures(item: bpy.types.Object, backdrop: Backdrop, drift_ppm: float) -> None:
    """Let a camera know in which frames of the scene the pictures of its video are; nothing where that is not known."""
    shown = next((b.clip for b in item.data.background_images if b.clip is not None), None)
    fps = backdrop.fps or (shown.fps if shown is not None and shown.source == "MOVIE" else None)
    item.pop(PICTURES, None)
    if fps:
        item[PICTURES] = [backdrop.first_frame, backdrop.scene_fps / fps * (1 + 1e-6 * drift_ppm)]


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
