"""Who is who across views, on scenes whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from inference.config import AssociationSettings
from inference.errors import DegenerateError, InputError, ShapeError
from inference.geometry.association import choose_people
from inference.geometry.projection import project
from inference.types import CameraRig, Keypoints2D
from tests.synthetic import BASE, Scene, make_scene, observe

SETTINGS = AssociationSettings()


def shuffled(views: tuple[Keypoints2D, ...], seed: int) -> tuple[tuple[Keypoints2D, ...], list[np.ndarray]]:
    """Put the slots of every view in another order; returns the orders too."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(view.xy.shape[1]) for view in views]
    mixed = tuple(
        Keypoints2D(v.view, v.joint_names, v.timestamps_s, v.xy[:, order], v.covariance[:, order], v.score[:, order])
        for v, order in zip(views, orders, strict=True)
    )
    return mixed, orders


def without(view: Keypoints2D, person: int, frames: slice = slice(None)) -> Keypoints2D:
    """The view, blind for one person."""
    xy, score = view.xy.copy(), view.score.copy()
    xy[frames, person], score[frames, person] = np.nan, 0
    return replace(view, xy=xy, score=score)


def who(scene: Scene, chosen: tuple[Keypoints2D, ...], person: int) -> set[int]:
    """The true persons whose projections the keypoints of one chosen person are near, over all views."""
    found = set()
    for camera, view in zip(scene.rig.cameras, chosen, strict=True):
        if view.observed[:, person].any():
            error = np.linalg.norm(project(camera, scene.xyz) - view.xy[:, person, None], axis=-1)  # (T, P, J)
            found.add(int(np.nanmedian(error, axis=(0, 2)).argmin()))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_two_people_are_told_apart_in_all_views(seed: int) -> None:
    scene = make_scene(frames=60, seed=seed, people=2)
    views, _ = shuffled(observe(scene, BASE, seed=seed), seed)
    chosen = choose_people(scene.rig, views, 2, SETTINGS)
    assert chosen[0].xy.shape[1] == 2
    assert [who(scene, chosen, 0), who(scene, chosen, 1)] in ([{0}, {1}], [{1}, {0}])


def test_the_actor_is_chosen_among_bystanders_whom_fewer_views_see() -> None:
    scene = make_scene(frames=60, seed=3, people=2)
    views = list(observe(scene, BASE, seed=3))
    views[2], views[3] = without(views[2], 0), without(views[3], 0)  # person 0 walks by in two views
    chosen = choose_people(scene.rig, shuffled(tuple(views), 3)[0], 1, SETTINGS)
    assert chosen[0].xy.shape[1] == 1
    assert who(scene, chosen, 0) == {1}


def test_everyone_seen_by_two_views_is_found_and_no_one_else() -> None:
    scene = make_scene(frames=60, seed=4, people=3)
    views = [without(view, 2) if number else view for number, view in enumerate(observe(scene, BASE, seed=4))]
    assert choose_people(scene.rig, tuple(views), 0, SETTINGS)[0].xy.shape[1] == 2
    assert choose_people(scene.rig, tuple(views), 3, SETTINGS)[0].xy.shape[1] == 2


def test_tracks_that_follow_each_other_in_a_view_are_one_person() -> None:
    scene = make_scene(frames=60, seed=5)
    views = list(observe(scene, BASE, seed=5))
    first, second = without(views[1], 0, slice(30, None)), without(views[1], 0, slice(None, 30))
    views[1] = replace(
        views[1],
        xy=np.concatenate([first.xy, second.xy], axis=1),
        covariance=np.concatenate([views[1].covariance] * 2, axis=1),
        score=np.concatenate([first.score, second.score], axis=1),
    )
    chosen = choose_people(scene.rig, tuple(views), 1, SETTINGS)
    assert chosen[1].observed[:, 0].any(axis=-1).sum() == 60


def test_views_of_another_recording_are_refused() -> None:
    scene = make_scene(frames=60, seed=6)
    views = observe(scene, BASE, seed=6)
    moved = [replace(view, xy=view.xy + np.array([0, 400.0 * (-1) ** n])) for n, view in enumerate(views)]
    with pytest.raises(DegenerateError, match="no person is seen by two views at once"):
        choose_people(CameraRig(scene.rig.cameras[:2], np.zeros((12, 12))), moved[:2], 1, SETTINGS)


def test_views_must_share_times_and_joints_and_fit_the_cameras() -> None:
    scene = make_scene(frames=10, seed=8)
    views = observe(scene, BASE, seed=8)
    with pytest.raises(ShapeError, match="differs from view"):
        later = replace(views[1], timestamps_s=views[1].timestamps_s + 0.1)
        choose_people(scene.rig, (views[0], later, *views[2:]), 1, SETTINGS)
    with pytest.raises(ShapeError, match="3 views do not fit 4 cameras"):
        choose_people(scene.rig, views[:3], 1, SETTINGS)
    with pytest.raises(InputError, match="at least two views"):
        choose_people(CameraRig(scene.rig.cameras[:1], np.zeros((6, 6))), views[:1], 1, SETTINGS)
