"""Corrections change the keypoints that they name, and nothing else."""

import numpy as np
import pytest

from inference.corrections import MOVE_SIGMA_PX, Correction, corrected, frames_of, in_world_of
from inference.errors import InputError
from inference.geometry.camera_path import camera_at
from inference.geometry.projection import project
from inference.types import Camera, CameraRig, Keypoints2D
from tests.synthetic import BASE, Scene, make_scene, moving_rig, observe


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(frames=30, cameras=3, seed=4, people=2)


@pytest.fixture(scope="module")
def views(scene: Scene) -> tuple[Keypoints2D, ...]:
    return observe(scene, BASE, seed=5)


def _changed(before: Keypoints2D, after: Keypoints2D) -> set[tuple[int, int, int]]:
    same = (before.xy == after.xy) | (np.isnan(before.xy) & np.isnan(after.xy))
    return {(int(t), int(p), int(j)) for t, p, j in np.argwhere(~same.all(axis=-1))}


def test_a_moved_keypoint_is_where_it_was_put(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    time, joint = scene.timestamps_s[7], scene.joint_names.index("left_wrist")
    move = Correction("move", 2, time + 0.005, time + 0.005, "cam02", "left_wrist", (400.0, 300.0))
    after = corrected(scene.rig, views, [move])
    assert {(p, j) for _, p, j in _changed(views[1], after[1])} == {(1, joint)}
    assert after[0] is views[0] and after[2] is views[2]
    assert after[1].xy[7, 1, joint] == pytest.approx([400, 300])
    assert after[1].covariance[7, 1, joint] == pytest.approx(np.eye(2) * (MOVE_SIGMA_PX * 1.92) ** 2)
    assert after[1].score[7, 1, joint] == 1


def test_neighbours_that_are_off_alike_are_shifted_too_and_right_ones_are_not(
    scene: Scene, views: tuple[Keypoints2D, ...]
) -> None:
    """A detector off by 60 px for ten frames; one keypoint that is wild alone."""
    joint, camera = scene.joint_names.index("left_wrist"), scene.rig.cameras[1]
    true = project(camera, scene.xyz[:, 0, joint])
    for wrong, after_px in ((slice(5, 16), 25.0), (slice(10, 11), 1.0)):
        xy = views[1].xy.copy()
        xy[:, 0, joint] = true
        xy[wrong, 0, joint] += [60.0, 0.0]
        view = Keypoints2D(
            "cam02", views[1].joint_names, views[1].timestamps_s, xy, _filled(views[1]), _scores(views[1])
        )
        move = Correction("move", 1, *(scene.timestamps_s[[10, 10]]), "cam02", "left_wrist", tuple(true[10]))
        after = corrected(scene.rig, (views[0], view, views[2]), [move])[1]
        off = np.linalg.norm(after.xy[7:14, 0, joint] - true[7:14], axis=1)
        assert off[3] == 0 and off.max() < after_px


def _filled(view: Keypoints2D) -> np.ndarray:
    return np.broadcast_to(9.0 * np.eye(2), view.covariance.shape)


def _scores(view: Keypoints2D) -> np.ndarray:
    return np.full(view.score.shape, 0.9)


def test_wrong_keypoints_are_gone_in_their_range_alone(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    wrong = Correction("wrong", 1, scene.timestamps_s[3], scene.timestamps_s[6], "cam01", "nose")
    after = corrected(scene.rig, views, [wrong])[0]
    assert np.isnan(after.xy[3:7, 0, 0]).all() and (after.score[3:7, 0, 0] == 0).all()
    assert {t for t, _, _ in _changed(views[0], after)} <= {3, 4, 5, 6}
    assert {(p, j) for _, p, j in _changed(views[0], after)} == {(0, 0)}


def test_a_dropped_view_says_nothing_of_that_person(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    drop = Correction("drop", 2, scene.timestamps_s[0], scene.timestamps_s[-1], "cam03")
    after = corrected(scene.rig, views, [drop])[2]
    assert not after.observed[:, 1].any() and after.observed[:, 0].any()


def test_swapping_arms_twice_is_nothing(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    swap = Correction("swap", 1, scene.timestamps_s[5], scene.timestamps_s[9], "cam01", "arms")
    once = corrected(scene.rig, views, [swap])[0]
    left, right, hip = (scene.joint_names.index(name) for name in ("left_wrist", "right_wrist", "left_hip"))
    np.testing.assert_array_equal(once.xy[5:10, 0, left], views[0].xy[5:10, 0, right])
    np.testing.assert_array_equal(once.xy[:, :, hip], views[0].xy[:, :, hip])
    assert _changed(views[0], corrected(scene.rig, views, [swap, swap])[0]) == set()


def test_a_pin_is_seen_by_every_view(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    joint = scene.joint_names.index("right_ankle")
    pin = Correction("pin", 1, scene.timestamps_s[2], scene.timestamps_s[2], None, "right_ankle", (0.1, 0.2, 0.3))
    after = corrected(scene.rig, views, [pin])
    for camera, before, view in zip(scene.rig.cameras, views, after, strict=True):
        assert {(p, j) for _, p, j in _changed(before, view)} == {(0, joint)}
        assert view.xy[2, 0, joint] == pytest.approx(project(camera, np.array([[0.1, 0.2, 0.3]]))[0])
        assert 0.5 < np.sqrt(view.covariance[2, 0, joint, 0, 0]) < 5  # 5 mm at 4.5 m and f = 1400 px are 1.6 px


def test_no_correction_is_no_change(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    assert all(a is b for a, b in zip(corrected(scene.rig, views, []), views, strict=True))


@pytest.mark.parametrize(
    ("correction", "said"),
    [
        (Correction("move", 3, 0.1, 0.1, "cam01", "nose", (1.0, 1.0)), "person 3"),
        (Correction("move", 1, 0.1, 0.1, "cam09", "nose", (1.0, 1.0)), "no such view; it has cam01"),
        (Correction("pin", 1, 0.1, 0.1, None, "nose", (1.0, 1e5, 1.0)), "nose at 0.1 s: .*not within 10000 m"),
        (Correction("pin", 1, 0.1, 0.1, None, "tail", (1.0, 1.0, 1.0)), "no such joint"),
        (Correction("move", 1, 0.1, 0.1, "cam01", "nose", (1e9, 1.0)), "far outside the picture of 1920 x 1080 px"),
        (Correction("move", 1, 0.1, 0.1, "cam01", "nose", (1.0, -10801.0)), "nose in view 'cam01' at 0.1 s: xy"),
        (Correction("move", 1, 0.1, 0.1, "cam01", "nose", (1.0, float("inf"))), "far outside"),
        (Correction("wrong", 1, 7.0, 8.0, "cam01", "nose"), "no frame there"),
    ],
)
def test_what_is_not_there_is_named(
    scene: Scene, views: tuple[Keypoints2D, ...], correction: Correction, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        corrected(scene.rig, views, [correction])


def test_the_only_camera_must_be_able_to_see_what_is_pinned(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    camera, time = scene.rig.cameras[0], scene.timestamps_s[3]
    alone = CameraRig((camera,), np.zeros((6, 6)))
    for depth in (-2.0, 0.0, 0.09):
        pin = Correction("pin", 1, time, time, None, "nose", tuple(camera.centre + depth * camera.R[2]))
        with pytest.raises(
            InputError, match=f"'pin' of nose at {time:g} s: its depth in view 'cam01', the only one, is"
        ):
            corrected(alone, views[:1], [pin])
        corrected(scene.rig, views, [pin])  # negative control: other views may see it
    near = Correction("pin", 1, time, time, None, "nose", tuple(camera.centre + 0.11 * camera.R[2]))
    assert corrected(alone, views[:1], [near])[0].xy[3, 0, scene.joint_names.index("nose")] == pytest.approx(
        camera.intrinsics.K[:2, 2]
    )


def test_which_frames(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    drop = Correction("drop", 2, scene.timestamps_s[3], scene.timestamps_s[6], "cam03")
    assert np.flatnonzero(frames_of(drop, views)).tolist() == [3, 4, 5, 6]


def test_points_in_the_world_of_the_kept_cameras(scene: Scene) -> None:
    """The world is turned by 90 degrees about x and lifted by 2 m: (1, 2, 3) stands at (1, -3, 4) then."""
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    shift = np.array([0.0, 0, 2])
    there = [Camera(c.intrinsics, c.R @ turn.T, c.t - c.R @ turn.T @ shift) for c in scene.rig.cameras]
    moved = CameraRig(tuple(there), np.zeros((6 * len(there), 6 * len(there))))
    assert turn @ [1, 2, 3] + shift == pytest.approx([1, -3, 4])
    assert in_world_of(scene.rig, moved, np.array([[1.0, -3, 4]])) == pytest.approx(np.array([[1, 2, 3]]))
    assert in_world_of(moved, scene.rig, np.array([1.0, 2, 3])) == pytest.approx([1, -3, 4])


def test_a_pin_is_seen_from_where_a_moving_camera_stands_then(scene: Scene, views: tuple[Keypoints2D, ...]) -> None:
    rig, joint = moving_rig(scene.rig, scene.timestamps_s, [1], seed=1), scene.joint_names.index("left_wrist")
    time, place = float(scene.timestamps_s[27]), scene.xyz[27, 0, joint]
    after = corrected(rig, views, [Correction("pin", 1, time, time, None, "left_wrist", tuple(map(float, place)))])
    then = project(camera_at(rig.cameras[1], time), place[None])[0]
    assert after[1].xy[27, 0, joint] == pytest.approx(then, abs=1e-6)
    assert np.linalg.norm(project(rig.cameras[1], place[None])[0] - then) > 10
