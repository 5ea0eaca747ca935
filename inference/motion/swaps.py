"""Left and right exchanged by a detector, and limbs that a view places elsewhere than the others.

Both are found per limb, view and frame against where the joints are. Exchanged limbs are put right; single keypoints
far from their joints have little weight in the estimate as it is (Student t), limbs that stray for long have none. What
happened is told per view and limb.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry.reprojection import Rays, squared_distances
from ..layouts import mirrored
from ..shapes import BoolArray, FloatArray
from .foot_lock import runs

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
    rays: Rays,  # T·J points, as detected
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
    mended, swapped = unswapped(rays, joints.reshape(-1, 3).T, joint_names, nu)
    shape = (len(rays.R), *joints.shape[:2])
    far = (squared_distances(mended, joints.reshape(-1, 3).T) > _FAR).reshape(shape) & mended.seen.reshape(shape)
    seen = mended.seen.reshape(shape)
    found = []
    for number, (limb, members) in enumerate(_LIMBS.items()):
        sides = [
            [j for j, n in enumerate(joint_names) if n in {f"{s}_{m}" for m in members}] for s in ("left", "right")
        ]
        for view in range(len(rays.R)):
            shown = int(seen[view][:, sides[0] + sides[1]].any(axis=-1).sum())
            found.append(LimbFact(view, f"{limb}s", shown, int(swapped[view, :, number].sum()), 0))
            for side, own in zip(("left", "right"), sides, strict=True):
                count, wrong = seen[view][:, own].sum(axis=-1), far[view][:, own].sum(axis=-1)
                disagrees = (wrong >= 2) & (2 * wrong >= count)
                found.append(LimbFact(view, f"{side} {limb}", int((count > 0).sum()), 0, int(disagrees.sum())))
    return [fact for fact in found if _worth_telling(fact)]


def without_stray_limbs(
    rays: Rays,  # T·J points, sides put right
    joints: FloatArray,  # (T, J, 3) m
    joint_names: Sequence[str],
    surrogate: FloatArray,  # (J,) how much larger the rays' covariances are than those of single keypoints
) -> Rays:
    """Let a view say nothing of a limb while it places the limb elsewhere than the other views do.

    Keypoints that stray one at a time have little weight as it is (Student t); a whole limb that strays for long
    pulls the same way in every frame, which no averaging takes away.

    Convention:
        a limb strays where it disagrees, as `limb_facts` has it, in at least five frames in a row and at least two
        other views show most of it then: of two views nobody knows which one is wrong.
    """
    shape = (len(rays.R), *joints.shape[:2])
    seen = rays.seen.reshape(shape)
    far = (squared_distances(rays, joints.reshape(-1, 3).T).reshape(shape) * surrogate > _FAR) & seen
    stray = np.zeros(shape, bool)
    for own in _sides(joint_names):
        count, wrong = seen[..., own].sum(axis=-1), far[..., own].sum(axis=-1)
        good = 2 * (count - wrong) > len(own)
        others = good.sum(axis=0) - good
        for view in range(shape[0]):
            for start, stop in runs((wrong[view] >= 2) & (2 * wrong[view] >= count[view]) & (others[view] >= 2)):
                if stop - start >= _FEWEST_STRAY:
                    stray[view, start:stop, own] = True
    if not stray.any():
        return rays
    kept = ~stray.reshape(rays.u.shape)
    precision = {key: np.where(kept, getattr(rays, key), 0.0) for key in ("uu", "uv", "vv")}
    return replace(rays, seen=rays.seen & kept, **precision)


def _sides(joint_names: Sequence[str]) -> list[list[int]]:
    """The joints of every limb."""
    limbs = [[f"{side}_{m}" for m in members] for members in _LIMBS.values() for side in ("left", "right")]
    found = [[j for j, name in enumerate(joint_names) if name in limb] for limb in limbs]
    return [limb for limb in found if len(limb) > 1]


def _worth_telling(fact: LimbFact) -> bool:
    often = fact.swapped > _OFTEN_SWAPPED * fact.frames or fact.disagreeing > _OFTEN_FAR * fact.frames
    return often and fact.swapped + fact.disagreeing >= _FEWEST_FRAMES


def unswapped(
    rays: Rays,  # T·J points
    points: FloatArray,  # (3, T·J) m
    joint_names: Sequence[str],
    nu: float,
) -> tuple[Rays, BoolArray]:
    """Exchange the sides of limbs wherever that fits the joints much better.

    Returns:
        The rays with limbs exchanged, and (V, T, L) which were, L = arms, legs.
    """
    count = len(joint_names)
    shape = (len(rays.R), -1, count)
    mirror = np.array([_index(joint_names, mirrored(name), own) for own, name in enumerate(joint_names)])
    order = (np.arange(rays.u.shape[1]).reshape(-1, count)[:, mirror]).ravel()
    crossed = rays.take(order)
    gain = (_cost(rays, points, nu) - _cost(crossed, points, nu)).reshape(shape)
    exchange = np.zeros(gain.shape, bool)
    found = []
    for limb in _LIMBS.values():
        members = [j for j, name in enumerate(joint_names) if name.partition("_")[2] in limb and mirror[j] != j]
        swapped = gain[..., members].sum(axis=-1) > _MARGIN_NATS
        exchange[..., members] = swapped[..., None]
        found.append(swapped)
    flat = exchange.reshape(rays.u.shape)
    mixed = {key: np.where(flat, getattr(crossed, key), getattr(rays, key)) for key in Rays.PER_POINT}
    return Rays(rays.R, rays.t, **mixed), np.stack(found, axis=-1)


def _index(names: Sequence[str], wanted: str, default: int) -> int:
    return list(names).index(wanted) if wanted in names else default


def _cost(rays: Rays, points: FloatArray, nu: float) -> FloatArray:
    return 0.5 * (nu + 2) * np.log1p(np.minimum(squared_distances(rays, points), _WILD) / nu)
