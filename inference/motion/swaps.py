"""Left and right exchanged by a detector, and limbs that a view places elsewhere than the others.

Both are found per limb, view and frame against where the joints are. Exchanged limbs are put right; single keypoints
far from their joints have little weight in the estimate as it is (Student t), limbs that stray for long have none. What
happened is told per view and limb.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry.reprojection import PointRays, Rays, squared_distances
from ..shapes import BoolArray, FloatArray, IntArray
from .foot_lock import runs
from .reading import Reading, block_distances, blocks, mirror_joints

_LIMBS = {
    "arm": ("shoulder", "elbow", "wrist", "index", "pinky", "thumb"),
    "leg": ("hip", "knee", "ankle", "heel", "big_toe", "small_toe", "foot_index"),
}
_MARGIN_NATS = 6.0  # how much better the exchanged limb must fit
_WILD = 64.0  # squared sigmas from which a keypoint is as bad as any other
_FAR = 25.0  # squared sigmas from which a keypoint disagrees with its joint
_OFTEN_SWAPPED, _OFTEN_FAR = 0.004, 0.05  # shares of the frames from which a limb is named
_FEWEST_FRAMES = 3
_FEWEST_STRAY = 5  # frames in a row


@dataclass(frozen=True)
class LimbFact:
    """What is to be told of one limb in one view."""

    view: int
    limb: str  # "arms", "legs": taken for each other; "left arm" …: placed elsewhere
    frames: int  # in which the view shows the limb
    swapped: int
    disagreeing: int

    def shares(self) -> dict[str, object]:
        """The fact for report.json."""
        return {
            "limb": self.limb,
            "frames": self.frames,
            "swapped_share": self.swapped / self.frames,
            "disagreeing_share": self.disagreeing / self.frames,
        }


def limb_facts(
    rays: PointRays,  # T·J points, as detected
    joints: FloatArray,  # (T, J, 3) m
    joint_names: Sequence[str],
    nu: float,
) -> list[LimbFact]:
    """Name the limbs that views exchanged, or place elsewhere, in more frames than chance explains.

    Convention:
        a limb disagrees in a frame where, sides put right, at least two and at least half of the keypoints that the
        view shows of it lie more than 5 sigmas from their joints. Swaps are named from 0.4 % of the frames (and three
        of them), disagreement from 5 %.
    """
    swapped = exchanged_limbs(rays, joints, joint_names, nu)
    mended = Reading.of(rays, joint_names, exchanged_joints(swapped, joint_names))
    far, seen = _far(mended, joints), mended.seen.reshape(len(rays.seen), *joints.shape[:2])
    found = []
    for number, (limb, members) in enumerate(_LIMBS.items()):
        sides = [
            [j for j, n in enumerate(joint_names) if n in {f"{s}_{m}" for m in members}] for s in ("left", "right")
        ]
        for view in range(len(rays.seen)):
            shown = int(seen[view][:, sides[0] + sides[1]].any(axis=-1).sum())
            found.append(LimbFact(view, f"{limb}s", shown, int(swapped[view, :, number].sum()), 0))
            for side, own in zip(("left", "right"), sides, strict=True):
                count, wrong = seen[view][:, own].sum(axis=-1), far[view][:, own].sum(axis=-1)
                disagrees = (wrong >= 2) & (2 * wrong >= count)
                found.append(LimbFact(view, f"{side} {limb}", int((count > 0).sum()), 0, int(disagrees.sum())))
    return [fact for fact in found if _worth_telling(fact)]


def stray_limbs(
    rays: PointRays,  # T·J points, sides put right
    joints: FloatArray,  # (T, J, 3) m
    joint_names: Sequence[str],
    surrogate: FloatArray,  # (J,) how much larger the rays' covariances are than those of single keypoints
) -> BoolArray:
    """Tell where a view places a limb elsewhere than the other views do: it shall say nothing of the limb then.

    Keypoints that stray one at a time have little weight as it is (Student t); a whole limb that strays for long
    pulls the same way in every frame, which no averaging takes away.

    Convention:
        a limb strays where it disagrees, as `limb_facts` has it, in at least five frames in a row and at least two
        other views show most of it then: of two views nobody knows which one is wrong.

    Returns:
        (V, T·J).
    """
    shape = (len(rays.seen), *joints.shape[:2])
    seen = rays.seen.reshape(shape)
    far = _far(rays, joints, surrogate)
    stray = np.zeros(shape, bool)
    for own in _sides(joint_names):
        count, wrong = seen[..., own].sum(axis=-1), far[..., own].sum(axis=-1)
        good = 2 * (count - wrong) > len(own)
        others = good.sum(axis=0) - good
        for view in range(shape[0]):
            for start, stop in runs((wrong[view] >= 2) & (2 * wrong[view] >= count[view]) & (others[view] >= 2)):
                if stop - start >= _FEWEST_STRAY:
                    stray[view, start:stop, own] = True
    return stray.reshape(rays.seen.shape)


def _far(rays: PointRays, joints: FloatArray, factor: FloatArray | float = 1.0) -> BoolArray:
    """(V, T, J) whether a keypoint is seen and disagrees with its joint; factor (J,) on the squared distances."""
    shape = (len(rays.seen), *joints.shape[:2])
    far = np.empty(shape, bool)
    for frames, delta in block_distances(rays, joints):
        far[:, frames] = delta * factor > _FAR
    return far & rays.seen.reshape(shape)


def _sides(joint_names: Sequence[str]) -> list[list[int]]:
    """The joints of every limb."""
    limbs = [[f"{side}_{m}" for m in members] for members in _LIMBS.values() for side in ("left", "right")]
    found = [[j for j, name in enumerate(joint_names) if name in limb] for limb in limbs]
    return [limb for limb in found if len(limb) > 1]


def _worth_telling(fact: LimbFact) -> bool:
    often = fact.swapped > _OFTEN_SWAPPED * fact.frames or fact.disagreeing > _OFTEN_FAR * fact.frames
    return often and fact.swapped + fact.disagreeing >= _FEWEST_FRAMES


def exchanged_limbs(
    rays: PointRays,  # T·J points
    joints: FloatArray,  # (T, J, 3) m
    joint_names: Sequence[str],
    nu: float,
) -> BoolArray:
    """Find where the sides of a limb exchanged fit the joints much better.

    Returns:
        (V, T, L), L = arms, legs.
    """
    mirror = mirror_joints(joint_names)
    members = [_members(joint_names, mirror, limb) for limb in _LIMBS.values()]
    found = np.empty((len(rays.seen), len(joints), len(members)), bool)
    for frames, points in blocks(joints):
        part, place = rays.take(points), joints[frames].reshape(-1, 3).T
        order = np.arange(place.shape[1]).reshape(-1, len(mirror))[:, mirror].ravel()
        gain = _cost(part, place, nu) - _cost(part.take(order), place, nu)
        gain = gain.reshape(len(rays.seen), -1, len(mirror))
        for limb, own in enumerate(members):
            found[:, frames, limb] = gain[..., own].sum(axis=-1) > _MARGIN_NATS
    return found


def exchanged_joints(
    limbs: BoolArray,  # (V, T, L) as `exchanged_limbs` gives it
    joint_names: Sequence[str],
) -> BoolArray:
    """(V, T·J) the joints of exchanged limbs."""
    mirror = mirror_joints(joint_names)
    result = np.zeros((*limbs.shape[:2], len(mirror)), bool)
    for limb, parts in enumerate(_LIMBS.values()):
        result[..., _members(joint_names, mirror, parts)] = limbs[..., limb, None]
    return result.reshape(len(limbs), -1)


def _members(joint_names: Sequence[str], mirror: IntArray, limb: Sequence[str]) -> list[int]:
    """Joints of both sides' limbs that have a joint on the other side."""
    return [j for j, name in enumerate(joint_names) if name.partition("_")[2] in limb and mirror[j] != j]


def _cost(rays: Rays, points: FloatArray, nu: float) -> FloatArray:
    return 0.5 * (nu + 2) * np.log1p(np.minimum(squared_distances(rays, points), _WILD) / nu)
