"""With one view a pin that cannot be true is left out: nothing else would outvote it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.believed import believed_corrections
from inference.config import HypothesisSettings
from inference.corrections import Correction
from inference.errors import InputError
from inference.files.corrections_toml import corrections_path, write_corrections
from inference.pipeline import solve
from inference.take import read_take
from inference.types import CameraPath, CameraRig, Flag, Keypoints2D, Reason, Solution, SolveReport
from tests.keypoint_take import write_take
from tests.synthetic import BASE, Scene, make_scene, observe

WRIST = "left_wrist"


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(frames=8, cameras=2, fps=30.0, seed=1)


@pytest.fixture(scope="module")
def views(scene: Scene) -> tuple[Keypoints2D, ...]:
    return observe(scene, BASE, seed=11)


def pin_at(scene: Scene, place: np.ndarray, joint: str = WRIST) -> Correction:
    time = float(scene.timestamps_s[5])
    return Correction("pin", 1, time, time, None, joint, tuple(map(float, place)))


def believed(
    scene: Scene, views: tuple[Keypoints2D, ...], *pins: Correction, height_m: float | None = None
) -> tuple[tuple[Correction, ...], list[str]]:
    rig = CameraRig(scene.rig.cameras[: len(views)], np.zeros((6 * len(views), 6 * len(views))))
    report = SolveReport("dance")
    return believed_corrections(rig, views, pins, (0.1, HypothesisSettings()), height_m, report), report.warnings


def off_the_wrist(scene: Scene, beside: float = 0.0, along: float = 1.0) -> np.ndarray:
    """A place beside the wrist of frame 5, m, and so many times as far from the first camera."""
    camera = scene.rig.cameras[0]
    ray = scene.xyz[5, 0, scene.joint_names.index(WRIST)] - camera.centre
    side = np.cross(ray, camera.R[1])
    return camera.centre + along * ray + beside * side / np.linalg.norm(side)


@pytest.mark.parametrize(
    ("beside", "along", "said"),
    [
        (3.0, 1.0, "m beside what the view shows"),
        (-3.0, 1.0, "m beside what the view shows"),
        (0.0, 9.0, "so far away the person would be 1.*m tall"),
        (0.0, 0.1, "so far away the person would be 0.2 m tall"),
    ],
)
def test_a_pin_that_cannot_be_true_is_left_out(scene: Scene, views, beside: float, along: float, said: str) -> None:
    pin, other = pin_at(scene, off_the_wrist(scene, beside, along)), Correction("wrong", 1, 0.0, 0.1, "cam01", "nose")
    kept, (warning,) = believed(scene, views[:1], pin, other)
    assert kept == (other,)
    assert f"view cam01: left out, for one view alone cannot outvote a wrong pin: pin of person 1's {WRIST}" in warning
    assert re.search(said, warning) and "\n" not in warning
    assert believed(scene, views, pin, other) == ((pin, other), [])  # two views judge it by themselves


def test_pins_that_can_be_true_stay(scene: Scene, views) -> None:
    for beside, along in ((0.0, 1.0), (0.7, 1.0), (0.0, 1.2), (0.0, 0.8)):
        pin = pin_at(scene, off_the_wrist(scene, beside, along))
        assert believed(scene, views[:1], pin) == ((pin,), [])


def test_a_stated_height_says_what_is_impossible(scene: Scene, views) -> None:
    pin = pin_at(scene, off_the_wrist(scene, along=0.4))  # about 0.7 m tall
    assert believed(scene, views[:1], pin)[0] == ()
    assert believed(scene, views[:1], pin, height_m=0.7)[0] == (pin,)


def test_what_bodies_lack_is_held_in_the_picture_alone(scene: Scene, views) -> None:
    view = views[0]
    with_thumb = Keypoints2D(
        view.view,
        (*view.joint_names, "left_thumb"),
        view.timestamps_s,
        np.concatenate([view.xy, np.full((8, 1, 1, 2), np.nan)], axis=2),
        np.concatenate([view.covariance, np.full((8, 1, 1, 2, 2), np.nan)], axis=2),
        np.concatenate([view.score, np.zeros((8, 1, 1))], axis=2),
    )
    near, far = (pin_at(scene, off_the_wrist(scene, beside), "left_thumb") for beside in (0.1, 3.0))
    kept, (warning,) = believed(scene, (with_thumb,), near)
    assert kept == (near,) and "in the picture alone, not in depth: pin of person 1's left_thumb at" in warning
    kept, (warning,) = believed(scene, (with_thumb,), far)
    assert kept == () and "left_thumb" in warning and "beside what the view shows" in warning


def shows_little(view: Keypoints2D, frames: slice) -> Keypoints2D:
    """The view with three joints in some frames, the left wrist not among them."""
    xy, score = view.xy.copy(), view.score.copy()
    xy[frames, :, 3:], score[frames, :, 3:] = np.nan, 0.0
    return replace(view, xy=xy, score=score)


def test_a_pin_in_a_frame_that_shows_too_little_holds_nothing(scene: Scene, views) -> None:
    kept, (warning,) = believed(scene, (shows_little(views[0], slice(4, 7)),), pin_at(scene, off_the_wrist(scene)))
    assert kept == () and "fewer than 4 joints in this frame" in warning


def test_what_lies_behind_the_camera_is_refused(scene: Scene, views) -> None:
    with pytest.raises(InputError, match=f"'pin' of {WRIST} at .*'cam01', the only one, is -"):
        believed(scene, views[:1], pin_at(scene, off_the_wrist(scene, along=-1.0)))


def test_one_bad_pin_leaves_a_take_of_one_view_as_it_was(tmp_path: Path) -> None:
    scene = write_take(tmp_path, frames=24, cameras=1, noise=BASE)
    time = float(scene.timestamps_s[12])
    wrist = scene.xyz[12, 0, scene.joint_names.index(WRIST)]
    side = scene.rig.cameras[0].R[0]

    def solved(out: str, *pins: Correction) -> Solution:
        write_corrections(corrections_path(tmp_path / "take.toml"), pins)
        return solve(read_take(tmp_path / "take.toml"), tmp_path / out)

    without = solved("without")
    bad = solved("bad", Correction("pin", 1, time, time, None, WRIST, tuple(map(float, wrist + 3 * side))))
    np.testing.assert_array_equal(bad.solved.xyz, without.solved.xyz)
    good = solved("good", Correction("pin", 1, time, time, None, WRIST, tuple(map(float, wrist))))
    index = good.solved.joint_names.index(WRIST)
    left, off = (float(np.linalg.norm(each.solved.xyz[12, 0, index] - wrist)) for each in (good, without))
    assert left < 0.6 * off, (left, off)  # negative control


def test_a_pin_where_the_view_shows_too_little_leaves_the_bridge_standing(tmp_path: Path) -> None:
    """Two joints in four frames: bodies before and after carry the wrist over; a pin there made it unobserved."""
    scene = write_take(tmp_path, frames=45, cameras=1, noise=BASE)
    for frame in range(16, 20):
        path = tmp_path / "keypoints" / "cam01" / f"clip_{frame:012d}_keypoints.json"
        told = json.loads(path.read_text())
        rows = np.array(told["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
        rows[2:] = 0
        told["people"][0]["pose_keypoints_2d"] = rows.ravel().tolist()
        path.write_text(json.dumps(told))
    time = float(scene.timestamps_s[18])
    place = tuple(map(float, scene.xyz[18, 0, scene.joint_names.index(WRIST)] + [0.15, 0.1, 0]))
    write_corrections(corrections_path(tmp_path / "take.toml"), [Correction("pin", 1, time, time, None, WRIST, place)])
    solution = solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    wrist = solution.solved.joint_names.index(WRIST)
    assert (solution.solved.flag[:, 0, wrist] == Flag.WEAK).all()
    assert solution.solved.reason[18, 0, wrist] == Reason.BRIDGED


def test_a_pin_is_judged_along_the_ray_of_a_moving_camera_at_its_time(scene: Scene) -> None:
    """The camera came 3 m nearer before the pin: from its first pose 1.3 times the distance would pass."""
    camera = scene.rig.cameras[0]
    t = np.tile(camera.t + [0.0, 0.0, 3.0], (8, 1))
    t[4:] = camera.t
    moves = replace(camera, t=t[0], path=CameraPath(scene.timestamps_s, np.tile(camera.R, (8, 1, 1)), t))
    moving = replace(scene, rig=replace(scene.rig, cameras=(moves, *scene.rig.cameras[1:])))
    views = observe(moving, BASE, seed=11)[:1]
    for along, kept in ((1.0, 1), (1.3, 0)):
        pin = pin_at(scene, off_the_wrist(scene, along=along))
        assert len(believed(moving, views, pin, height_m=1.7)[0]) == kept
