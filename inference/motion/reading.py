"""How the keypoints of one person are read by the estimate, made for some of them at a time.

Every step reads them differently: sides of limbs put right, standing errors taken off, straying limbs left out, errors
with memory as larger white ones. They are kept once, as detected, and beside them what changes the reading, which is
little: memory would grow with the take several times as fast otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry.reprojection import PointRays, Rays, squared_distances
from ..layouts import mirrored
from ..shapes import BoolArray, FloatArray, IntArray
from .standing import Standing, corrected

_BLOCK = 1_000  # frames at a time


@dataclass(frozen=True, eq=False)
class Reading:
    """T·J points' keypoints in V views as they are read."""

    detected: PointRays  # T·J points
    mirror: IntArray  # (J,) the joint on the other side of the body, or the joint itself
    exchanged: BoolArray | None  # (V, T·J) where the keypoint of the joint on the other side is meant
    standing: Standing | None  # what is taken off
    seen: BoolArray  # (V, T·J)

    @classmethod
    def of(
        cls,
        detected: PointRays,
        joint_names: Sequence[str],
        exchanged: BoolArray | None = None,
        standing: Standing | None = None,
    ) -> Reading:
        """Read T·J detected points with sides put right and standing errors taken off."""
        mirror, seen = mirror_joints(joint_names), detected.seen
        if exchanged is not None:
            across = seen.reshape(len(seen), -1, len(mirror))[..., mirror].reshape(seen.shape)
            seen = np.where(exchanged, across, seen)
        return cls(detected, mirror, exchanged, standing, seen)

    def without(self, left_out: BoolArray) -> Reading:
        """The same without some keypoints, (V, T·J)."""
        return replace(self, seen=self.seen & ~left_out)

    def take(self, index: IntArray | slice) -> Rays:
        """Read some of the points."""
        points = _numbers(index, self.seen.shape[1])
        joint = points % len(self.mirror)
        part = self.detected.take(index)
        if self.exchanged is not None and self.exchanged[:, index].any():
            across = self.detected.take(points + self.mirror[joint] - joint)
            meant = self.exchanged[:, index]
            part = replace(
                part, **{key: np.where(meant, getattr(across, key), getattr(part, key)) for key in Rays.PER_POINT}
            )
        if self.standing is not None:
            part = corrected(part, self.standing, joint)
        seen = self.seen[:, index]
        if (seen != part.seen).any():
            precision = {key: np.where(seen, getattr(part, key), 0.0) for key in ("uu", "uv", "vv")}
            part = replace(part, seen=seen, **precision)
        return part


@dataclass(frozen=True, eq=False)
class Scaled:
    """T·J points' keypoints in V views with the covariances of each view and joint multiplied."""

    rays: PointRays
    variance: FloatArray  # (V, J) or (J,)

    @property
    def seen(self) -> BoolArray:
        """(V, T·J)."""
        return self.rays.seen

    def take(self, index: IntArray | slice) -> Rays:
        """Some of the points."""
        points = _numbers(index, self.seen.shape[1])
        return self.rays.take(index).scaled(self.variance[..., points % self.variance.shape[-1]])


def _numbers(index: IntArray | slice, count: int) -> IntArray:
    return np.arange(*index.indices(count)) if isinstance(index, slice) else index


def mirror_joints(joint_names: Sequence[str]) -> IntArray:
    """(J,) number of the joint on the other side of the body, or the joint's own."""
    names = list(joint_names)
    others = [mirrored(name) for name in names]
    return np.array([names.index(other) if other in names else own for own, other in enumerate(others)])


def blocks(joints: FloatArray) -> Iterator[tuple[slice, slice]]:
    """Frames, and their points among T·J, of joints (T, J, 3) a block at a time."""
    frames, count = joints.shape[:2]
    for start in range(0, frames, _BLOCK):
        stop = min(start + _BLOCK, frames)
        yield slice(start, stop), slice(start * count, stop * count)


def block_distances(rays: PointRays, joints: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Frames, and squared distances (V, n, J) of their keypoints from joints (T, J, 3), a block at a time."""
    for frames, points in blocks(joints):
        delta = squared_distances(rays.take(points), joints[frames].reshape(-1, 3).T)
        yield frames, delta.reshape(len(delta), -1, joints.shape[1])
