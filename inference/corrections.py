"""What a person says is wrong in the 2D keypoints, and where a joint really is: evidence for the next solve.

Corrections act on the views' keypoints, after it is settled who is who and before anything is triangulated: they need
no other place in the mathematics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .geometry.camera_path import camera_at
from .geometry.projection import project
from .layouts import mirrored
from .shapes import BoolArray, FloatArray
from .types import CameraRig, Keypoints2D

MOVE, WRONG, SWAP, DROP, PIN = "move", "wrong", "swap", "drop", "pin"
KINDS = (MOVE, WRONG, SWAP, DROP, PIN)
LIMBS: dict[str, tuple[str, ...]] = {
    "arms": ("shoulder", "elbow", "wrist", "hand", "thumb", "index", "middle", "ring", "pinky"),
    "legs": ("hip", "knee", "ankle", "heel", "big_toe", "small_toe", "foot_index"),
    "head": ("eye", "eye_inner", "eye_outer", "ear", "mouth"),
    "body": (),  # every joint that has a side
}
MOVE_SIGMA_PX = 2.0  # of a hand with a mouse, in the pixels of a picture 1,000 px wide
PIN_SIGMA_M = 0.005
_BEYOND = 10  # picture sizes from the picture's corner, within which a moved keypoint lies
FARTHEST_M = 1e4  # from the origin, that a pin may lie
NEAREST_M = 0.1  # in front of a camera; nothing nearer to the only one can be pinned
LASTS_S = 0.1  # how long a detector's error lasts, about: so far around a correction its neighbours are off alike


@dataclass(frozen=True)
class Correction:
    """One thing that a person corrected.

    Convention:
        times are seconds on the take's clock; a range holds both ends. ``person`` counts from 1.

        move   view, joint, start_s = end_s, place = (x, y) px: the keypoint is here
        wrong  view, joint or None for all, a range: these keypoints say nothing
        swap   view, joint = a limb of `LIMBS`, a range: left and right are exchanged
        drop   view, a range: the view says nothing about this person
        pin    joint, start_s = end_s, place = (x, y, z) m: the joint is here, within ``sigma_m``
    """

    kind: str
    person: int
    start_s: float
    end_s: float
    view: str | None = None
    joint: str | None = None
    place: tuple[float, ...] = ()
    sigma_m: float = PIN_SIGMA_M

    @property
    def words(self) -> str:
        """The correction in a few words, for messages."""
        where = "" if self.view is None else f" in view {self.view!r}"
        when = f"{self.start_s:g} s" if self.start_s == self.end_s else f"{self.start_s:g}-{self.end_s:g} s"
        return f"correction {self.kind!r} of {self.joint or 'all joints'}{where} at {when}"


def corrected(
    rig: CameraRig, views: Sequence[Keypoints2D], corrections: Iterable[Correction]
) -> tuple[Keypoints2D, ...]:
    """Put corrections into the keypoints, in their order.

    Convention:
        a time means the frame nearest to it, at most half a step away. A pin becomes a keypoint in every view that
        it lies in front of, as sure as its sigma; a moved keypoint is as sure as a hand with a mouse. Both have
        score 1. Errors last: keypoints around a moved or pinned one are shifted with it, less the farther in time,
        by what it differs from the median of their path; where they are right the shift is none.

    Args:
        rig: the cameras, in the order of the views.
        views: V views on common times, slot p is person p + 1.
        corrections: what is to be corrected.

    Returns:
        The views.

    Raises:
        InputError: a correction names a view, person, joint or time that is not there, moves a keypoint far beyond
            the picture, or pins a joint where the only camera cannot see it.
    """
    edits = [_Edit(view) for view in views]
    for correction in corrections:
        frames = frames_of(correction, views)
        for edit, camera in zip(edits, rig.cameras, strict=True):
            if correction.kind == PIN:
                standing = camera_at(camera, float(edit.view.timestamps_s[frames.argmax()]))
                points = np.array(correction.place)[None]
                depth = float((standing.R @ points[0] + standing.t)[2])
                if len(edits) == 1 and depth < NEAREST_M:
                    raise InputError(
                        f"{correction.words}: its depth in view {edit.view.view!r}, the only one, is {depth:.2f} m, "
                        f"and must be at least {NEAREST_M:g} m; pin it where the person is, or remove the pin"
                    )
                if depth > 0:
                    sigma = correction.sigma_m * float(camera.intrinsics.K[0, 0]) / depth
                    edit.put(correction, frames, project(standing, points)[0], sigma)
            elif edit.view.view == correction.view:
                _check_place(correction, camera.intrinsics.image_size)
                edit.apply(correction, frames, camera.intrinsics.image_size[0])
    return tuple(edit.result() for edit in edits)


def frames_of(correction: Correction, views: Sequence[Keypoints2D]) -> BoolArray:
    """Find the frames that a correction is about, and refuse one that does not fit the take.

    Returns:
        (T,) booleans, at least one of them true.

    Raises:
        InputError: a view, person, joint or time is not there.
    """
    _check(correction, views)
    return _frames(correction, views[0].timestamps_s)


def pinned_points(views: Sequence[Keypoints2D], corrections: Iterable[Correction]) -> tuple[FloatArray, FloatArray]:
    """Where joints are pinned, (T, P, J, 3) m, and how surely, (T, P, J) m.

    Convention:
        NaN where nothing is pinned; the last pin of a joint and frame counts.

    Raises:
        InputError: a pin names a person, joint or time that is not there.
    """
    names = views[0].joint_names
    found, sigma = np.full((*views[0].score.shape, 3), np.nan), np.full(views[0].score.shape, np.nan)
    for correction in corrections:
        if correction.kind == PIN:
            cell = frames_of(correction, views), correction.person - 1, names.index(correction.joint or "")
            found[cell], sigma[cell] = correction.place, correction.sigma_m
    return found, sigma


def in_world_of(
    there: CameraRig,
    here: CameraRig,
    points: FloatArray,  # (..., 3) m
) -> FloatArray:
    """Express points of one world in that of the same cameras standing elsewhere.

    A solution may be turned and lifted onto its floor after the kept cameras were settled; pins are told in the world
    of the kept ones.

    Convention:
        metres in both; the cameras see the points at the same place.

    Args:
        there: the cameras in the wanted world.
        here: the same cameras, in the same order, in the world of the points.
        points: (..., 3) world points, m.

    Returns:
        (..., 3) m.
    """
    new, old = there.cameras[0], here.cameras[0]
    return (points @ old.R.T + old.t - new.t) @ new.R


class _Edit:
    """One view's keypoints while they are corrected; copied at the first change."""

    def __init__(self, view: Keypoints2D) -> None:
        self.view = view
        self._arrays: tuple[FloatArray, FloatArray, FloatArray] | None = None

    def _open(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        if self._arrays is None:
            self._arrays = (self.view.xy.copy(), self.view.covariance.copy(), self.view.score.copy())
        return self._arrays

    def apply(self, correction: Correction, frames: BoolArray, width: int) -> None:
        """Do what a correction of this view says."""
        if correction.kind == MOVE:
            self.put(correction, frames, np.array(correction.place), MOVE_SIGMA_PX * width / 1000)
        elif correction.kind == SWAP:
            self._swap(correction, frames)
        else:
            everywhere = correction.joint is None or correction.kind == DROP
            names = self.view.joint_names
            joints = np.array([everywhere or name == correction.joint for name in names])
            gone = np.zeros(self.view.score.shape, dtype=bool)
            gone[:, correction.person - 1] = frames[:, None] & joints
            xy, covariance, score = self._open()
            xy[gone], covariance[gone], score[gone] = np.nan, np.nan, 0.0

    def put(self, correction: Correction, frames: BoolArray, place: FloatArray, sigma_px: float) -> None:
        """Say where a keypoint is."""
        joint = self.view.joint_names.index(correction.joint or "")
        xy, covariance, score = self._open()
        person = correction.person - 1
        xy[:, person, joint] += _shift(self.view.timestamps_s, xy[:, person, joint], int(frames.argmax()), place)
        cell = (frames, person, joint)
        xy[cell], covariance[cell], score[cell] = place, sigma_px**2 * np.eye(2), 1.0

    def _swap(self, correction: Correction, frames: BoolArray) -> None:
        names = self.view.joint_names
        wanted = LIMBS[correction.joint or "body"]
        order = np.arange(len(names))
        for index, name in enumerate(names):
            sided = mirrored(name)
            if sided in names and sided != name and (not wanted or name.partition("_")[2] in wanted):
                order[index] = names.index(sided)
        person = correction.person - 1
        for array in self._open():
            rows = array[frames, person]
            array[frames, person] = rows[:, order]

    def result(self) -> Keypoints2D:
        """The keypoints as they are now."""
        if self._arrays is None:
            return self.view
        return Keypoints2D(self.view.view, self.view.joint_names, self.view.timestamps_s, *self._arrays)


def _shift(times: FloatArray, path: FloatArray, frame: int, place: FloatArray) -> FloatArray:
    """(T, 2) how far a correction at a frame moves a keypoint's path (T, 2), which may have gaps.

    The path at the frame is a median over frames alike far before and after it, the curve between them taken off: a
    wild keypoint there does not count, and the motion itself takes nothing away.
    """
    reach = int(np.searchsorted(times, times[frame] + LASTS_S, side="right") - 1 - frame)
    reach = max(min(reach, frame, len(times) - 1 - frame), 0)
    steps = np.arange(1, reach + 1)
    midpoints = 0.5 * (path[frame - steps] + path[frame + steps])
    if reach > 1:  # Richardson: what grows with the square of the time cancels
        half = reach // 2
        midpoints = (4 * midpoints[:half] - midpoints[1 : 2 * half : 2]) / 3
    midpoints = midpoints[np.isfinite(midpoints).all(axis=1)]
    if not len(midpoints):
        return np.zeros_like(path)
    share = np.exp(-0.5 * ((times - times[frame]) / LASTS_S) ** 2)
    return np.where(share > 0.01, share, 0.0)[:, None] * (place - np.median(midpoints, axis=0))


def _check(correction: Correction, views: Sequence[Keypoints2D]) -> None:
    names = views[0].joint_names
    persons = views[0].xy.shape[1]
    if not 1 <= correction.person <= persons:
        raise InputError(f"{correction.words}: person {correction.person} is not one of the {persons} solved")
    if correction.kind == PIN and not all(abs(at) <= FARTHEST_M for at in correction.place):
        raise InputError(f"{correction.words}: {list(correction.place)} is not within {FARTHEST_M:g} m of the origin")
    known = [view.view for view in views]
    if correction.kind != PIN and correction.view not in known:
        raise InputError(f"{correction.words}: the take has no such view; it has {', '.join(known)}")
    if correction.kind in (MOVE, PIN, WRONG) and correction.joint is not None and correction.joint not in names:
        raise InputError(f"{correction.words}: the keypoints have no such joint; they have {', '.join(names)}")


def _check_place(correction: Correction, size: tuple[int, int]) -> None:
    """Refuse a keypoint so far outside its picture that nobody can have put it there."""
    if correction.kind == MOVE and any(
        not abs(at) <= _BEYOND * most for at, most in zip(correction.place, size, strict=True)
    ):
        x, y = correction.place
        raise InputError(
            f"{correction.words}: xy = [{x:g}, {y:g}] is far outside the picture of {size[0]} x {size[1]} px; "
            "correct or remove it"
        )


def _frames(correction: Correction, times: FloatArray) -> BoolArray:
    """(T,) which frames a correction is about."""
    half = 0.5 * float(np.median(np.diff(times))) if len(times) > 1 else 0.5
    if correction.kind in (MOVE, PIN):
        nearest = int(np.abs(times - correction.start_s).argmin())
        chosen = np.arange(len(times)) == nearest
        chosen &= np.abs(times - correction.start_s) <= half * 1.001
    else:
        chosen = (times >= correction.start_s - half / 2) & (times <= correction.end_s + half / 2)
    if not chosen.any():
        raise InputError(f"{correction.words}: the take has no frame there; it lasts {times[0]:g}-{times[-1]:g} s")
    return chosen
