"""Takes of several people who meet, hide each other, leave and come back, with who is who known exactly.

    scene, views = scenario("three crossing", seed)   # truth, NaN where a person is not there; V views

A keypoint behind a nearer body is missing, placed wildly, or put on the nearer body's same joint; a person of whom
little shows is not detected at all. World and cameras as in `tests.synthetic`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from inference.geometry.projection import project
from inference.shapes import BoolArray, FloatArray
from inference.types import Camera, Keypoints2D
from tests.synthetic import BASE, Scene, make_scene, observe

_BODY = (  # segments of a body and their radius, m
    *(("left_shoulder", "right_hip", 0.16), ("right_shoulder", "left_hip", 0.16), ("nose", "nose", 0.12)),
    *((f"{side}_{a}", f"{side}_{b}", r) for side in ("left", "right") for a, b, r in (
        ("shoulder", "elbow", 0.06), ("elbow", "wrist", 0.05), ("hip", "knee", 0.09), ("knee", "ankle", 0.06))),
)  # fmt: skip
_SHOWS = 0.35  # share of a body's joints that must show for a detector to find it
_WILD_M = 0.15  # sigma of hidden keypoints that are guessed


def crossing(seed: int, people: int = 2, frames: int = 240, apart_m: float = 0.35) -> Scene:
    """People pass each other in the middle at 0.6 m/s, each on a line of its own direction, ``apart_m`` aside."""
    scene = _centred(make_scene(frames=frames, seed=seed, people=people))
    ways = np.linspace(-1.2, 1.2, frames)
    xyz = np.array(scene.xyz)
    for person in range(people):
        angle = 0.3 * seed + (np.pi * person if people == 2 else 2 * np.pi * person / people)
        along, aside = _axes(angle)
        xyz[:, person] += (ways[:, None] * along - 0.5 * apart_m * aside)[:, None]
    return replace(scene, xyz=xyz)


def bystanders(seed: int, frames: int = 240) -> Scene:
    """One actor dances in the middle; two, 0.85 and 1.1 times as tall, walk past within 0.6 m, one after the other."""
    scene = _centred(make_scene(frames=frames, seed=seed, people=3), still=0)
    xyz = np.array(scene.xyz)
    times = scene.timestamps_s
    for person, height, start_s, side in ((1, 0.85, 0.3, 0.55), (2, 1.1, 1.6, -0.6)):
        along, aside = _axes(0.5 * seed + 2.0 * person)
        way = 1.3 * (times - start_s) - 1.5
        meets = np.abs(way).argmin()
        where = xyz[meets, 0, _hips(scene)].mean(axis=0) * [1, 1, 0]
        xyz[:, person] = height * xyz[:, person] + (where + way[:, None] * along + side * aside)[:, None]
        xyz[np.abs(way) > 1.5, person] = np.nan
    return replace(scene, xyz=xyz)


def comes_back(seed: int, frames: int = 300, away_s: float = 2.0) -> Scene:
    """Two people of different heights; the second walks off, is away for some time and comes back elsewhere."""
    scene = _centred(make_scene(frames=frames, seed=seed, people=2), still=0)
    xyz = np.array(scene.xyz)
    times = scene.timestamps_s
    out, back = 1.4, 1.4 + away_s
    along, aside = _axes(0.7 * seed)
    way = np.where(times < out, 0.6 + 0.8 * times, 0.6 + 0.8 * (back + out - times))
    turned = np.where((times < out)[:, None], along, 0.8 * along + 0.6 * aside)
    xyz[:, 1] = 0.88 * xyz[:, 1] + (way[:, None] * turned)[:, None]
    xyz[(times > out) & (times < back), 1] = np.nan
    return replace(scene, xyz=xyz)


SCENARIOS: dict[str, Callable[[int], Scene]] = {
    "two crossing": crossing,
    "three crossing": lambda seed: crossing(seed, people=3),
    "actor and two bystanders": bystanders,
    "one leaves and comes back": comes_back,
    "two, one hidden": lambda seed: crossing(seed, apart_m=0.8),
}
ONE_VIEW = {"two, one hidden": (1, slice(50, 110))}  # the person whom one view alone sees in these frames


def scenario(name: str, seed: int) -> tuple[Scene, list[Keypoints2D]]:
    """Return the truth and the detections of a scenario."""
    scene = SCENARIOS[name](seed)
    return scene, detections(scene, seed, ONE_VIEW.get(name))


def detections(scene: Scene, seed: int, blind: tuple[int, slice] | None = None) -> list[Keypoints2D]:
    """Return what a detector sees: slots in another order in every frame, no one behind another.

    Args:
        scene: the truth.
        seed: of all random numbers.
        blind: (person, frames): in these frames one view alone (number seed mod V) sees the person.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number, (camera, view) in enumerate(zip(scene.rig.cameras, observe(scene, BASE, seed=seed), strict=True)):
        xy, hidden = _behind_others(scene, camera, np.array(view.xy), rng)
        gone = (hidden | ~view.observed).mean(axis=-1) > 1 - _SHOWS
        if blind is not None and number != seed % len(scene.rig.cameras):
            gone[blind[1], blind[0]] = True
        xy[gone] = np.nan
        seen = np.isfinite(xy).all(axis=-1)
        covariance = np.where(seen[..., None, None], view.covariance, np.nan)
        covariance = np.where((seen & ~np.isfinite(covariance[..., 0, 0]))[..., None, None], 9 * np.eye(2), covariance)
        score = np.where(seen, np.where(hidden, rng.uniform(0.1, 0.8, seen.shape), np.maximum(view.score, 0.3)), 0.0)
        order = np.argsort(rng.random(gone.shape), axis=1)
        values = {
            name: np.take_along_axis(array, order.reshape(*order.shape, *(1,) * (array.ndim - 2)), axis=1)
            for name, array in (("xy", xy), ("covariance", covariance), ("score", score))
        }
        found.append(replace(view, **values))
    return found


def identities(scene: Scene, views: tuple[Keypoints2D, ...]) -> FloatArray:
    """(V, T, P) number of the true person whom each slot shows, -1 where it is empty."""
    result = []
    for camera, view in zip(scene.rig.cameras, views, strict=True):
        error = np.linalg.norm(project(camera, scene.xyz)[:, None] - view.xy[:, :, None], axis=-1)
        error = np.where(np.isfinite(error), error, np.nan)
        known = np.isfinite(error).any(axis=-1)
        middle = np.where(known, np.nanmedian(np.where(known[..., None], error, 0.0), axis=-1), np.inf)
        result.append(np.where(view.observed.any(axis=-1), middle.argmin(axis=-1), -1))
    return np.stack(result)


def _centred(scene: Scene, still: int | None = None) -> Scene:
    """The same dances, each about the origin; ``still`` keeps its own way."""
    moved = scene.xyz - scene.xyz[:, :, _hips(scene)].mean(axis=2, keepdims=True) * [1, 1, 0]
    if still is not None:
        moved[:, still] = scene.xyz[:, still]
    return replace(scene, xyz=moved)


def _hips(scene: Scene) -> list[int]:
    return [scene.joint_names.index(f"{side}_hip") for side in ("left", "right")]


def _axes(angle: float) -> tuple[FloatArray, FloatArray]:
    along = np.array([np.cos(angle), np.sin(angle), 0.0])
    return along, np.array([-along[1], along[0], 0.0])


def _behind_others(
    scene: Scene, camera: Camera, xy: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """Disturb the keypoints (T, P, J, 2) that stand behind a nearer body; (T, P, J) which do."""
    true = project(camera, scene.xyz)
    depth = (scene.xyz @ camera.R[2] + camera.t[2]).mean(axis=-1)
    focal = camera.intrinsics.K[0, 0]
    behind = np.zeros(xy.shape[:-1], bool)
    people = range(xy.shape[1])
    for far in people:
        for near in people:
            covered = _covered(scene.joint_names, true[:, far], true[:, near], focal / depth[:, near])
            covered &= (depth[:, near] < depth[:, far])[:, None]
            behind[:, far] |= covered
            kind = rng.random(covered.shape)
            spread = (_WILD_M * focal / depth[:, far])[:, None, None]
            guess = true[:, far] + spread * rng.normal(size=true[:, far].shape)
            stolen = true[:, near] + 3 * rng.normal(size=true[:, near].shape)
            wrong = np.where((kind < 0.3)[..., None], stolen, np.where((kind < 0.5)[..., None], guess, np.nan))
            xy[:, far] = np.where(covered[..., None], wrong, xy[:, far])
    return xy, behind


def _covered(names: tuple[str, ...], points: FloatArray, body: FloatArray, px_per_m: FloatArray) -> BoolArray:
    """(T, J) whether points (T, J, 2) lie on the silhouette of a body (T, J, 2)."""
    result = np.zeros(points.shape[:-1], bool)
    for start, stop, radius_m in _BODY:
        a, b = body[:, None, names.index(start)], body[:, None, names.index(stop)]
        along = b - a
        share = ((points - a) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-9)
        nearest = a + np.clip(share, 0, 1)[..., None] * along
        result |= np.linalg.norm(points - nearest, axis=-1) < (radius_m * px_per_m)[:, None]
    return result
