"""What a shoot teaches: a frozen detector sees it from several sides, geometry says where they agree.

The solve runs without one view. Joints on which three views or more agree become labels in the views that took part,
and in the one that did not. The last part of the frames is held out everywhere. What all views get wrong alike stays
wrong: geometry cannot see it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference.errors import InputError
from inference.files.kept_keypoints import KeptKeypoints, read_kept
from inference.files.solution import read_solution
from inference.geometry.triangulation import triangulate
from inference.layouts import shared_joints
from inference.moving_cameras import rig_on_clock
from inference.perception.crop import image_from_crop, region_of_box, transform_points, warp
from inference.pipeline import cameras_of_views, solve
from inference.placement import without_placement
from inference.progress import Progress
from inference.shapes import BoolArray, FloatArray
from inference.take import Take, View, read_take
from inference.types import Camera, CameraRig, Flag, Keypoints3D, SolveReport
from inference.views import open_views

from .loaders.labelled import LabelledView, in_order
from .loaders.solved_take import labels_of_view
from .trainer.task import Batch

ENLARGE = 1.25  # of the box around the labels, as a solve looks
_GAP = 0.05  # share of the frames between learning and judging that serves neither: neighbours look alike
_LEAST_LABELS = 4  # of a picture that is worth looking at


@dataclass(frozen=True)
class ShootSettings:
    """Which footage teaches, who is the teacher, and what is kept apart."""

    takes: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ("blazepose",)  # several: a joint counts where all of them agree
    held_out_view: str = ""  # "" = the last of each take
    held_out_share: float = 0.25  # of the frames, at the end
    every: int = 2  # take each n-th frame
    seconds: float = 0.0  # of each take; 0 = all
    most_sigma_px: float = 16.0  # of a label along its worst axis
    agree_m: float = 0.05  # farthest that teachers may be apart
    work: str = "out/shoot"  # folder of the solves

    def __post_init__(self) -> None:
        if not 0.05 <= self.held_out_share <= 0.8:
            raise InputError(f"[shoot]: held_out_share = {self.held_out_share} must lie in 0.05 … 0.8")
        if self.every < 1 or self.seconds < 0 or not self.teachers or not min(self.most_sigma_px, self.agree_m) > 0:
            raise InputError("[shoot]: every, most_sigma_px and agree_m must be above 0, and one teacher be named")


@dataclass(frozen=True, eq=False)
class Shoot:
    """Labelled views by what they are for."""

    learn: list[LabelledView]
    frames: list[LabelledView]  # held-out frames of the views that teach
    view: list[LabelledView]  # all frames of the held-out views
    others: list[LabelledView]  # as ``learn``, each view labelled by the others alone: no keypoint judges itself
    others_later: list[LabelledView]  # as ``frames``, likewise
    agreed: float  # share of joints, frame by frame, on which geometry agreed


def shoot_of(settings: ShootSettings, progress: Progress | None = None) -> Shoot:
    """Solve the takes without their held-out views and label all views with what was agreed on.

    Raises:
        InputError: no take is named, one has fewer than four views with videos, or too little is agreed on.
        SolveError: a take cannot be solved.
    """
    if not settings.takes:
        raise InputError("[shoot]: takes is empty: name the take files of the shoot")
    parts = [_labelled(Path(name), settings, progress) for name in settings.takes]
    shoot = Shoot(
        [view for part in parts for view in part.learn],
        [view for part in parts for view in part.frames],
        [view for part in parts for view in part.view],
        [view for part in parts for view in part.others],
        [view for part in parts for view in part.others_later],
        float(np.mean([part.agreed for part in parts])),
    )
    if min(len(shoot.learn), len(shoot.frames), len(shoot.view)) < 4:
        raise InputError(
            f"too little to learn from: {len(shoot.learn)} pictures to learn, {len(shoot.frames)} held-out frames, "
            f"{len(shoot.view)} of the held-out view; geometry agrees on {shoot.agreed:.0%} of the joints"
        )
    return shoot


def _labelled(path: Path, settings: ShootSettings, progress: Progress | None) -> Shoot:
    take = read_take(path)
    if settings.seconds:
        take = dataclasses.replace(take, end_s=min(take.start_s + settings.seconds, take.end_s or float("inf")))
    if take.calibration.from_person or len([view for view in take.views if view.video]) < 4:
        raise InputError(f"{path}: adapting needs given cameras and four views with videos: three teach, one judges")
    held = settings.held_out_view or take.views[-1].name
    if held not in [view.name for view in take.views]:
        raise InputError(f"{path}: no view is called {held!r}; held_out_view must name one")
    taught = _taught(take, held, settings, progress)
    limits = settings.most_sigma_px, settings.every
    learn: list[LabelledView] = []
    frames: list[LabelledView] = []
    apart: list[LabelledView] = []
    others: list[LabelledView] = []
    later: list[LabelledView] = []
    for view, camera, offset in zip(take.views, taught.rig.cameras, taught.offsets_s, strict=True):
        labelled = _of_view(view, camera, offset, taught.joints, limits)
        if view.name == held:
            apart += labelled
            continue
        early, late = _split(labelled, settings.held_out_share)
        learn += early
        frames += late
        if view.name in taught.by_others:
            own = _of_view(view, camera, offset, taught.by_others[view.name], limits)
            early, late = _split(own, settings.held_out_share)
            others += early
            later += late
    return Shoot(learn, frames, apart, others, later, float((taught.joints.flag == Flag.OBSERVED).mean()))


def _of_view(
    view: View, camera: Camera, offset_s: float, joints: Keypoints3D, limits: tuple[float, int]
) -> list[LabelledView]:
    labelled = labels_of_view(view, camera, offset_s, joints, limits) if view.video else []
    return [each for each in labelled if np.isfinite(each.xy).all(axis=1).sum() >= _LEAST_LABELS]


def _split(labelled: list[LabelledView], share: float) -> tuple[list[LabelledView], list[LabelledView]]:
    """Return the pictures to learn from and those held out at the end, some between left out."""
    if not labelled:
        return [], []
    numbers = np.array([each.picture.frame for each in labelled])
    late, early = np.quantile(numbers, [1 - share, 1 - share - _GAP])
    return (
        [each for each, number in zip(labelled, numbers, strict=True) if number <= early],
        [each for each, number in zip(labelled, numbers, strict=True) if number >= late],
    )


@dataclass(frozen=True, eq=False)
class _Taught:
    """What the solves without the held-out view say."""

    joints: Keypoints3D  # agreed
    by_others: dict[str, Keypoints3D]  # by view: what the other views alone say of the agreed joints
    rig: CameraRig  # all views of the take
    offsets_s: list[float]


def _taught(take: Take, held: str, settings: ShootSettings, progress: Progress | None) -> _Taught:
    views = tuple(view for view in take.views if view.name != held)
    still = dataclasses.replace(take.calibration, floor="keep")  # the held-out camera knows the given world alone
    rest = dataclasses.replace(take, views=views, calibration=still, corrections=())
    solutions = []
    folders = []
    for teacher in settings.teachers:
        detection = dataclasses.replace(take.settings.detection, detector=teacher)
        own = dataclasses.replace(rest, settings=dataclasses.replace(take.settings, detection=detection))
        out = Path(settings.work) / f"{take.name}_without_{held}_{teacher}"
        folders.append(out)
        solve(own, out, progress)
        # Where on the body the teacher sets a joint is part of what it teaches: no doubt about the label.
        solutions.append(without_placement(read_solution(out / "solution.npz")))
    first = solutions[0]
    robust = [dataclasses.replace(each.solved, flag=_robust(each.solved, each.raw)) for each in solutions]
    # Cameras that the solve has adjusted stand for those that took part; the held-out one is as given.
    given = _given_cameras(take, held)
    adjusted = {camera.name: camera for camera in first.rig.cameras}
    rig = CameraRig(tuple(adjusted.get(camera.name, camera) for camera in given.cameras), given.covariance)
    found = dict(zip([camera.name for camera in first.rig.cameras], first.offset_s, strict=True))
    offsets = [float(found.get(view.name, view.offset_s or 0.0)) for view in take.views]
    joints = agreed_joints(robust, settings.agree_m)
    return _Taught(joints, _by_others(read_kept(folders[0] / "keypoints.kept"), take, joints), rig, offsets)


def _given_cameras(take: Take, held: str) -> CameraRig:
    """Cameras of all views as given, those that move on the take's clock.

    Raises:
        InputError: the held-out camera moves, and nothing states when its video starts.
    """
    opened = open_views(take)
    rig = cameras_of_views(take, opened, SolveReport(take=take.name)).rig
    if held in rig.moving and any(item.name == held and item.view.offset_s is None for item in opened):
        raise InputError(
            f'view {held!r}: its camera moves and it is held out, so offset_s = "auto" is never found; give its '
            "offset_s, or hold out another view"
        )
    return rig_on_clock(rig, opened)


def _by_others(kept: KeptKeypoints, take: Take, joints: Keypoints3D) -> dict[str, Keypoints3D]:
    """Triangulate the agreed joints once without each view: a label made with a keypoint flatters it."""
    found = {}
    for index, camera in enumerate(kept.rig.cameras):
        rest = [other for other in range(len(kept.rig.cameras)) if other != index]
        rows = np.concatenate([np.arange(6 * other, 6 * other + 6) for other in rest])
        rig = CameraRig(tuple(kept.rig.cameras[other] for other in rest), kept.rig.covariance[np.ix_(rows, rows)])
        alone = triangulate(rig, [kept.views[other] for other in rest], take.settings.triangulation)
        _, ours, theirs = shared_joints(alone.joint_names, joints.joint_names)
        flag = np.full(alone.flag.shape, int(Flag.UNOBSERVED), np.int8)
        agreed = (joints.flag[:, :, theirs] == Flag.OBSERVED) & (alone.flag[:, :, ours] >= Flag.WEAK)
        flag[:, :, ours] = np.where(agreed, int(Flag.OBSERVED), int(Flag.UNOBSERVED))
        seen = (flag == Flag.OBSERVED)[..., None]
        found[camera.name] = dataclasses.replace(
            alone,
            flag=flag,
            xyz=np.where(seen, alone.xyz, np.nan),
            covariance=np.where(seen[..., None], alone.covariance, np.nan),
        )
    return found


def _robust(solved: Keypoints3D, raw: Keypoints3D) -> NDArray[np.int8]:
    """Return the solved flags, weak where the frame alone did not have three views that agree."""
    return np.where(raw.flag == Flag.OBSERVED, solved.flag, np.minimum(solved.flag, Flag.WEAK)).astype(np.int8)


def agreed_joints(teachers: Sequence[Keypoints3D], agree_m: float) -> Keypoints3D:
    """Return the mean of what teachers say, observed where all that know a joint are near each other.

    Raises:
        InputError: they differ in frames or persons.
    """
    first = teachers[0]
    total, count = first.xyz.copy(), np.ones(len(first.joint_names))
    flag = first.flag.copy()
    for other in teachers[1:]:
        if other.xyz.shape[:2] != first.xyz.shape[:2]:
            raise InputError("the teachers' solutions differ in frames or persons; name one teacher")
        _, ours, theirs = shared_joints(first.joint_names, other.joint_names)
        apart = np.linalg.norm(first.xyz[:, :, ours] - other.xyz[:, :, theirs], axis=-1)
        good = (apart <= agree_m) & (other.flag[:, :, theirs] == Flag.OBSERVED)
        flag[:, :, ours] = np.where(good, flag[:, :, ours], np.minimum(flag[:, :, ours], Flag.WEAK))
        total[:, :, ours] += np.where(good[..., None], other.xyz[:, :, theirs], first.xyz[:, :, ours])
        count[ours] += 1
    return dataclasses.replace(first, xyz=total / count[:, None], flag=flag)


def crops_of(views: Sequence[LabelledView], joint_names: tuple[str, ...], size: tuple[int, int]) -> Batch:
    """Cut the people out as a solve does; joints without a label are NaN, neither inside nor visible.

    Returns:
        ``image`` (N, 3, H, W) uint8 RGB, ``xy`` (N, J, 2) px, ``inside`` and ``visible`` (N, J) bool.
    """
    images, places, kept = [], [], []
    for image, view in in_order(views):
        known = view.xy[np.isfinite(view.xy).all(axis=1)]
        box = np.concatenate([known.min(axis=0), known.max(axis=0)])
        region = region_of_box(box, size[0] / size[1], ENLARGE)
        _, ours, theirs = shared_joints(joint_names, view.joint_names)
        xy = np.full((len(joint_names), 2), np.nan)
        crop_from_image = np.linalg.inv(np.vstack([image_from_crop(region, size), [0, 0, 1]]))[:2]
        xy[ours] = transform_points(crop_from_image, view.xy)[theirs]
        images.append(np.moveaxis(warp(image, region, size), -1, 0))
        places.append(xy)
        kept.append(_inside(xy, size))
    inside = torch.from_numpy(np.stack(kept))
    xy = torch.from_numpy(np.stack(places)).float()
    return {"image": torch.from_numpy(np.stack(images)), "xy": xy, "inside": inside, "visible": inside.clone()}


def _inside(xy: FloatArray, size: tuple[int, int]) -> BoolArray:
    return ((xy > -0.5) & (xy < np.array(size) - 0.5)).all(axis=1)
