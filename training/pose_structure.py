"""Pose Structure Score: whether an estimated pose is of the same kind as the true one, by frozen cluster centres.

Kocabas et al. 2019; the paper leaves the normalisation open. Ours: camera axes, root subtracted, flattened, divided by
the L2 norm. The score depends on the centres: they are made once, with a stated seed, kept in a file,
and named beside every number.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2

from inference.errors import DegenerateError, InputError
from inference.shapes import FloatArray, IntArray, check_shapes, frozen

from .metrics import from_root

_NORMALISATION = "root 0 subtracted, L2 norm 1"


@dataclass(frozen=True, eq=False)
class PoseCentres:
    """Cluster centres of normalised poses, and how they were made."""

    joint_names: tuple[str, ...]  # joint 0 is the root
    centres: FloatArray  # (k, J * 3)
    seed: int
    starts: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "centres", frozen(self.centres))
        check_shapes(centres=(self.centres, f"k {3 * len(self.joint_names)}"))


@dataclass(frozen=True)
class StructureScore:
    """The score beside what chance gives with the same frequencies of clusters."""

    score: float  # 0-1
    chance: float  # 0-1
    k: int


def make_centres(
    poses: FloatArray,  # (N, J, 3)
    joint_names: tuple[str, ...],
    k: int,
    seed: int,
    starts: int = 10,
) -> PoseCentres:
    """Cluster true training poses by k-means++; the best of several starts.

    Convention:
        joint 0 is the root. The same poses, k, seed and starts give the same centres.

    Raises:
        DegenerateError: fewer poses than clusters.
    """
    check_shapes(poses=(poses, f"N {len(joint_names)} 3"))
    rows = normalised(poses)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(np.unique(rows, axis=0)) < k:
        raise DegenerateError(f"{len(rows)} complete poses do not make {k} clusters: give more, or a smaller k")
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for _ in range(starts):
        try:
            centres, kinds = kmeans2(rows, k, minit="++", rng=rng, missing="raise")
        except ClusterError:  # a cluster ran empty: another start
            continue
        inertia = ((rows - centres[kinds]) ** 2).sum()
        if inertia < least:
            best, least = centres, inertia
    if best is None:
        raise DegenerateError(f"no start made {k} clusters of {len(rows)} poses: give more poses, or a smaller k")
    return PoseCentres(joint_names, best, seed, starts)


def normalised(poses: FloatArray) -> FloatArray:  # (N, J, 3)
    """Subtract the root, flatten, divide by the norm: neither place nor size counts.

    Returns:
        (N, J * 3); NaN for a pose with a joint missing or with all joints in one place.
    """
    flat = from_root(poses).reshape(len(poses), -1)
    norm = np.linalg.norm(flat, axis=-1, keepdims=True)
    return flat / np.where(norm > 0, norm, np.nan)


def kinds_of(poses: FloatArray, centres: PoseCentres) -> IntArray:  # (N, J, 3)
    """Return the nearest centre of each pose.

    Returns:
        (N,) index; -1 for a pose that is not complete.
    """
    check_shapes(poses=(poses, f"N {len(centres.joint_names)} 3"))
    rows = normalised(poses)
    complete = np.isfinite(rows).all(axis=1)
    c = centres.centres
    squares = (c**2).sum(axis=1) - 2 * np.where(complete[:, None], rows, 0.0) @ c.T
    return np.where(complete, squares.argmin(axis=1), -1)


def structure_score(
    predicted: FloatArray,  # (N, J, 3)
    truth: FloatArray,  # (N, J, 3)
    centres: PoseCentres,
) -> StructureScore:
    """Return the share of poses whose nearest centre is that of the truth (PSS@k).

    Convention:
        an incomplete estimate is wrong; an incomplete truth does not count.
    """
    mine, theirs = kinds_of(predicted, centres), kinds_of(truth, centres)
    counts = theirs >= 0
    k = len(centres.centres)
    if not counts.any():
        return StructureScore(float("nan"), float("nan"), k)
    mine, theirs = mine[counts], theirs[counts]
    shares = [np.bincount(kinds[kinds >= 0], minlength=k) / len(kinds) for kinds in (mine, theirs)]
    return StructureScore(float((mine == theirs).mean()), float(shares[0] @ shares[1]), k)


def write_centres(path: Path, centres: PoseCentres) -> None:
    """Freeze centres in an .npz file."""
    np.savez(
        path,
        joint_names=np.array(centres.joint_names),
        centres=centres.centres,
        seed=np.array(centres.seed),
        starts=np.array(centres.starts),
        normalisation=np.array(_NORMALISATION),
    )


def read_centres(path: Path) -> PoseCentres:
    """Read frozen centres.

    Raises:
        InputError: the file is missing, truncated, or was made with another normalisation.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            values = {name: data[name] for name in ("joint_names", "centres", "seed", "starts", "normalisation")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: these are no pose centres ({error}): make them anew") from None
    if str(values["normalisation"]) != _NORMALISATION:
        raise InputError(f"{path}: the centres were made with {str(values['normalisation'])!r}, not {_NORMALISATION!r}")
    names = tuple(str(name) for name in values["joint_names"])
    return PoseCentres(names, values["centres"], int(values["seed"]), int(values["starts"]))
