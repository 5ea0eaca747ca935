"""Between the pixels of a view's footage and those of a 3D view that looks through its camera.

The picture fills the camera's frame. Where Blender shows the footage undistorted, a pixel of the footage is shown where
the lens without its distortion would have put it; `CameraFrame` takes that into account, both ways.
"""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ...inference.geometry.projection import distort_points, undistort_points
from ...inference.shapes import FloatArray
from ...inference.types import Camera, Intrinsics
from .parts import Part, part_of


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """Where the picture of one view lies in a region, and how Blender shows it.

    Convention:
        region pixels count from the region's lower left corner, y up; the mouse in an event stands at the centre of
        its pixel, (mouse_region_x + 0.5, mouse_region_y + 0.5). Image pixels are ours: those of the view's own video,
        the centre of the first one at 0, 0, y down.
    """

    corner: FloatArray  # (2,) region px of the picture's lower left corner
    size: FloatArray  # (2,) region px
    lens: Intrinsics
    undistorted: bool  # Blender shows the footage without the lens's distortion

    def region_from_image(self, xy: FloatArray) -> FloatArray:
        """Return (..., 2) region px of (..., 2) px of the footage; NaN outside the range of the lens model."""
        shown = self._pinhole(undistort_points(self.lens, xy)) if self.undistorted else np.asarray(xy, float)
        return self._region_from_shown(shown)

    def image_from_region(self, xy: FloatArray) -> FloatArray:
        """Return (..., 2) px of the footage of (..., 2) region px: the inverse of `region_from_image`."""
        across = (np.asarray(xy, float) - self.corner) / self.size
        width, height = self.lens.image_size
        shown = np.stack([across[..., 0] * width, (1 - across[..., 1]) * height], axis=-1) - 0.5
        if not self.undistorted:
            return shown
        inverse = np.linalg.inv(self.lens.K)
        return distort_points(self.lens, shown @ inverse[:2, :2].T + inverse[:2, 2])

    def region_from_world(self, camera: Camera, points: FloatArray) -> FloatArray:
        """Return (..., 2) region px of (..., 3) world points in m, through ``camera``; NaN behind it."""
        in_camera = np.asarray(points, float) @ camera.R.T + camera.t
        depth = np.where(in_camera[..., 2] > 0, in_camera[..., 2], np.nan)
        normalised = in_camera[..., :2] / depth[..., None]
        shown = self._pinhole(normalised) if self.undistorted else distort_points(self.lens, normalised)
        return self._region_from_shown(shown)

    def _pinhole(self, normalised: FloatArray) -> FloatArray:
        return normalised @ self.lens.K[:2, :2].T + self.lens.K[:2, 2]

    def _region_from_shown(self, shown: FloatArray) -> FloatArray:
        width, height = self.lens.image_size
        across = np.stack([(shown[..., 0] + 0.5) / width, 1 - (shown[..., 1] + 0.5) / height], axis=-1)
        return self.corner + across * self.size


def view_looked_through(
    space: bpy.types.SpaceView3D, region_3d: bpy.types.RegionView3D, scene: bpy.types.Scene
) -> tuple[bpy.types.Object, Part] | None:
    """Return the camera of ours that a 3D view looks through, and the view it stands for; None otherwise."""
    if region_3d is None or region_3d.view_perspective != "CAMERA":
        return None
    item = space.camera if space.use_local_camera else scene.camera
    part = part_of(item) if item is not None else None
    return (item, part) if part is not None and part.kind == "camera" and part.view is not None else None


def camera_frame(
    item: bpy.types.Object,
    lens: Intrinsics,
    scene: bpy.types.Scene,
    perspective: FloatArray,  # (4, 4) region_3d.perspective_matrix
    region_size: tuple[int, int],  # (width, height) px
) -> CameraFrame:
    """Find where the picture of a view lies in a region that looks through its camera.

    Convention:
        the frame is Blender's own, with the camera's shift and the 3D view's zoom and offset. A picture that is shown
        behind the camera is stretched over the frame, so this holds for a render of another shape too.

    Args:
        item: the camera.
        lens: of the view, in the pixels of its video.
        scene: whose render has the frame's shape.
        perspective: clip space from world, of this region.
        region_size: of this region.

    Returns:
        The mapping.
    """
    corners = np.array(item.data.view_frame(scene=scene), dtype=float)
    world = np.array(item.matrix_world.normalized(), dtype=float)
    clip = np.column_stack([corners, np.ones(4)]) @ (np.asarray(perspective, float) @ world).T
    region = (clip[:, :2] / clip[:, 3:] + 1) / 2 * np.asarray(region_size, float)
    low = region.min(axis=0)
    return CameraFrame(low, region.max(axis=0) - low, lens, shows_undistorted(item))


def shows_undistorted(item: bpy.types.Object) -> bool:
    """Whether what stands behind a camera is free of lens distortion; the bare 3D scene is."""
    shown = [b for b in item.data.background_images if b.show_background_image and b.source == "MOVIE_CLIP" and b.clip]
    if not shown or not item.data.show_background_images:
        return True
    return shown[0].clip_user.use_render_undistorted
