"""People who cross, hide each other and change places keep their identities."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from inference.config import AssociationSettings
from inference.geometry import association
from inference.geometry.association import choose_people
from inference.geometry.projection import project
from inference.geometry.tracklets import Tracklet
from inference.keypoints import link_detections
from inference.shapes import IntArray
from inference.types import Keypoints2D
from tests.synthetic import BASE, Scene, make_scene, observe

SETTINGS = AssociationSettings()
HIDDEN = 0.5  # of a body's spread between two in a picture: the farther one is not detected


def crossing(seed: int, frames: int = 240) -> Scene:
    """Two people pass each other in the middle, 0.35 m apart, at 0.6 m/s each."""
    scene = make_scene(frames=frames, seed=seed, people=2)
    hips = [scene.joint_names.index(f"{side}_hip") for side in ("left", "right")]
    ways = np.linspace(-1.2, 1.2, frames)
    xyz = scene.xyz - scene.xyz[:, :, hips].mean(axis=2, keepdims=True) * [1, 1, 0]
    angle = 0.3 * seed
    along, aside = np.array([np.cos(angle), np.sin(angle), 0]), np.array([-np.sin(angle), np.cos(angle), 0])
    xyz[:, 0] += (ways[:, None] * along - 0.175 * aside)[:, None]
    xyz[:, 1] += (-ways[:, None] * along + 0.175 * aside)[:, None]
    return replace(scene, xyz=xyz)


def detections(scene: Scene, seed: int) -> list[Keypoints2D]:
    """What a detector sees: slots in another order in every frame, and no one behind another."""
    rng = np.random.default_rng(seed)
    found = []
    for camera, view in zip(scene.rig.cameras, observe(scene, BASE, seed=seed), strict=True):
        true, depth = project(camera, scene.xyz), (scene.xyz @ camera.R[2] + camera.t[2]).mean(axis=-1)
        middle, size = true.mean(axis=2), true.std(axis=2).sum(axis=-1)
        near = np.linalg.norm(middle[:, 0] - middle[:, 1], axis=-1) < HIDDEN * size[:, 0]
        hidden = near[:, None] & (depth == depth.max(axis=1, keepdims=True))
        order = np.argsort(rng.random(hidden.shape), axis=1)
        values = {}
        for name, gone in (("xy", np.nan), ("covariance", np.nan), ("score", 0.0)):
            array = np.array(getattr(view, name))
            array[hidden] = gone
            values[name] = np.take_along_axis(array, order.reshape(*order.shape, *(1,) * (array.ndim - 2)), axis=1)
        found.append(replace(view, **values))
    return found


def right_share(scene: Scene, chosen: tuple[Keypoints2D, ...], seen: int) -> float:
    """Share of all ``seen`` detections that stand with the right person, persons named as fits best."""
    count = np.zeros((chosen[0].xy.shape[1], scene.xyz.shape[1]), int)
    for camera, view in zip(scene.rig.cameras, chosen, strict=True):
        error = np.linalg.norm(project(camera, scene.xyz)[:, None] - view.xy[:, :, None], axis=-1)
        shown = view.observed.any(axis=-1)
        nearest = np.nanmedian(error[shown], axis=-1).argmin(axis=-1)
        np.add.at(count, (np.nonzero(shown)[1], nearest), 1)
    people = range(scene.xyz.shape[1])
    best = max(
        sum(count[p, q] for p, q in zip(order, people, strict=False)) for order in permutations(range(len(count)))
    )
    return best / seen


def solved_share(seed: int, persons: int = 0) -> tuple[int, float]:
    scene = crossing(seed)
    found = detections(scene, seed)
    seen = sum(int(view.observed.any(axis=-1).sum()) for view in found)
    chosen = choose_people(scene.rig, [link_detections(view) for view in found], persons, SETTINGS)
    return chosen[0].xy.shape[1], right_share(scene, chosen, seen)


@pytest.mark.parametrize("seed", [1, 4, 7, 8, 9])
def test_two_who_cross_keep_their_identities(seed: int) -> None:
    """Measured on ten seeds: 99.1-100 % of the detections stand with their person; bound: 98 %."""
    people, share = solved_share(seed)
    assert people == 2
    assert share > 0.98


def test_without_cuts_the_same_scenes_lose_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: tracks taken as they come from the tracker lose people in some of the scenes."""

    def whole(number: int, view: Keypoints2D) -> tuple[list[Tracklet], IntArray]:
        seen = view.observed.any(axis=-1)
        return [Tracklet(number, s, np.flatnonzero(seen[:, s])) for s in range(seen.shape[1])], np.zeros(0, np.int64)

    monkeypatch.setattr(association, "tracklets", whole)
    assert min(solved_share(seed, 2)[1] for seed in (1, 4, 7, 8)) < 0.9


def test_one_person_of_two_is_chosen_and_stays_the_same() -> None:
    scene = crossing(4)
    found = [link_detections(view) for view in detections(scene, 4)]
    (one,) = {view.xy.shape[1] for view in choose_people(scene.rig, found, 1, SETTINGS)}
    assert one == 1


def test_who_enters_late_and_leaves_early_is_found_and_the_other_stays_whole() -> None:
    scene = make_scene(frames=120, seed=3, people=2)
    xyz = np.array(scene.xyz)
    xyz[:40, 1] = xyz[90:, 1] = np.nan
    views = observe(replace(scene, xyz=xyz), BASE, seed=3)
    chosen = choose_people(scene.rig, [link_detections(view) for view in views], 0, SETTINGS)
    shown = np.sum([view.observed.any(axis=-1) for view in chosen], axis=0)  # (T, P) views
    assert shown.shape[1] == 2
    assert (shown[:, 0] >= 2).mean() > 0.98
    assert (shown[40:90, 1] >= 2).mean() > 0.95
    assert (shown[:40, 1] == 0).all()
    assert (shown[90:, 1] == 0).all()
