"""The solved skeleton and the 2D keypoints over the footage, while a 3D view looks through one of our cameras."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import bpy
import numpy as np

from ...inference.shapes import FloatArray
from ..host.camera_frame import CameraFrame, camera_frame, view_looked_through
from ..host.uncertainty import residual_colours
from .painting import blending, crosses, lines
from .shown import ShownKeypoints, ShownTake, shown_keypoints, shown_takes

SWITCH = "sightline_overlay"  # on a camera: whether its plate carries the overlay
_PIECES = 6  # of a bone: a lens bends straight lines


def draw_plate(context: bpy.types.Context) -> None:
    """Draw over the plate of the camera that is looked through, where its overlay is switched on."""
    found = view_looked_through(context.space_data, context.region_data, context.scene)
    if found is None or not found[0].get(SWITCH):
        return
    item, part = found
    shown = next((one for one in shown_takes(context.scene) if one.take == part.take), None)
    if shown is None or part.view not in shown.data.solution.rig.names:
        return
    index = shown.index(context.scene.frame_current_final)
    if index is None:
        return
    view = shown.data.solution.rig.names.index(part.view)
    lens = shown.data.solution.rig.cameras[view].intrinsics
    region = context.region
    perspective = np.array(context.region_data.perspective_matrix, dtype=float)
    frame = camera_frame(item, lens, context.scene, perspective, (region.width, region.height))
    known = context.scene.sightline.overlay
    with blending():
        if known.skeleton:
            points, colour = skeleton_lines(shown, index, view, frame)
            lines(points, np.full_like(colour, (0.02, 0.02, 0.02, 0.6)), 4.5)
            lines(points, colour, 2.5)
        kept = shown_keypoints(shown) if known.keypoints else None
        if kept is not None:
            points, colour, links, link_colour = keypoint_marks(shown, kept, index, view, frame)
            lines(links, link_colour, 1.5)
            crosses(points, np.full_like(colour, (0.02, 0.02, 0.02, 0.7)), 5.5, 4.0)
            crosses(points, colour, 5.0, 2.0)


def skeleton_lines(shown: ShownTake, index: int, view: int, frame: CameraFrame) -> tuple[FloatArray, FloatArray]:
    """Return (2N, 2) ends of the pieces of all bones in the region, px, and (2N, 4) colours."""
    camera = shown.camera(view, index)
    ends = shown.data.solution.solved.xyz[index][:, shown.data.bone_ends]  # (P, B, 2, 3)
    tints = shown.data.colour[index][:, shown.data.bone_ends]  # (P, B, 2, 4)
    share = np.linspace(0, 1, _PIECES + 1)[:, None]
    points = ends[..., :1, :] * (1 - share) + ends[..., 1:, :] * share  # (P, B, pieces + 1, 3)
    colour = tints[..., :1, :] * (1 - share) + tints[..., 1:, :] * share
    drawn = frame.region_from_world(camera, points)
    return _pieces(drawn), _pieces(colour)


def _pieces(values: FloatArray) -> FloatArray:
    """(P, B, N + 1, C) points along bones as (2·P·B·N, C) ends of pieces."""
    return np.stack([values[..., :-1, :], values[..., 1:, :]], axis=-2).reshape(-1, values.shape[-1])


def keypoint_marks(
    shown: ShownTake, kept: ShownKeypoints, index: int, view: int, frame: CameraFrame
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the keypoints of a frame: (N, 2) px in the region and (N, 4) colours; and lines to their joints.

    Convention:
        green, amber and red by the distance from the solved joint, fainter with a lower score; grey where no joint has
        the keypoint's name.
    """
    seen = kept.kept.views[view]
    persons, numbers = np.nonzero(seen.observed[index])
    points = frame.region_from_image(seen.xy[index, persons, numbers])
    width, height = frame.lens.image_size
    colour = residual_colours(kept.residual_px[view, index, persons, numbers] / np.hypot(width, height))
    colour[:, 3] = 0.35 + 0.65 * np.clip(seen.score[index, persons, numbers], 0, 1)
    solved = shown.data.solution.solved
    joint = np.array([solved.joint_names.index(n) if n in solved.joint_names else -1 for n in seen.joint_names])[
        numbers
    ]
    ends = np.where((joint >= 0)[:, None], solved.xyz[index, persons, joint], np.nan)
    drawn = frame.region_from_world(shown.camera(view, index), ends)
    links = np.stack([points, drawn], axis=1).reshape(-1, 2)
    return points, colour, links, np.repeat(colour, 2, axis=0)
