"""Input that no estimate can be made of, by name: an error that says where, or unobserved, never a plausible answer."""

from dataclasses import replace

import numpy as np
import pytest

from inference.config import MotionSettings, TriangulationSettings
from inference.errors import DegenerateError, InputError, ShapeError
from inference.geometry.triangulation import triangulate
from inference.motion.estimate import estimate_motion
from inference.types import Camera, CameraRig, Flag, Keypoints2D
from tests.synthetic import BASE, SCENES, Scene, make_scene, observe


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(40, seed=8)


def test_timestamps_that_run_backwards(scene: Scene) -> None:
    views = observe(scene, BASE, 1)
    raw = triangulate(scene.rig, views, TriangulationSettings())
    times = raw.timestamps_s.copy()
    times[[10, 11]] = times[[11, 10]]
    views = tuple(replace(view, timestamps_s=times) for view in views)
    with pytest.raises(InputError, match="frame 11"):
        estimate_motion(replace(raw, timestamps_s=times), scene.rig, views, MotionSettings())


def test_covariances_that_are_not_positive_definite(scene: Scene) -> None:
    views = observe(scene, BASE, 1)
    covariance = views[1].covariance.copy()
    joint = int(np.flatnonzero(views[1].observed[7, 0])[0])
    covariance[7, 0, joint] = [[1.0, 2.0], [2.0, 1.0]]
    broken = (views[0], replace(views[1], covariance=covariance), *views[2:])
    with pytest.raises(InputError, match=rf"'cam02', frame 7, {scene.joint_names[joint]}.*positive definite"):
        triangulate(scene.rig, broken, TriangulationSettings())


@pytest.mark.parametrize("score", [np.nan, -0.1])
def test_scores_that_are_not_numbers_or_negative(scene: Scene, score: float) -> None:
    view = observe(scene, BASE, 1)[0]
    scores = view.score.copy()
    scores[3, 0, 2] = score
    with pytest.raises(ShapeError, match="'cam01': scores must be finite and not negative"):
        Keypoints2D(view.view, view.joint_names, view.timestamps_s, view.xy, view.covariance, scores)


def test_cameras_closer_than_makes_sense(scene: Scene) -> None:
    """Two cameras 2 mm apart show no depth, and noise of 3 px would pass for one; two metres apart is the control."""
    camera = scene.rig.cameras[0]
    sideways = camera.R.T @ np.array([1.0, 0, 0])
    for apart in (0.002, 2.0):
        centre = camera.centre + apart * sideways
        other = Camera(replace(camera.intrinsics, name="other"), camera.R, -camera.R @ centre)
        rig = CameraRig((camera, other), np.zeros((12, 12)))
        views = observe(replace(scene, rig=rig), SCENES["white"], 1)
        raw = triangulate(rig, views, TriangulationSettings())
        if apart > 1:
            assert raw.observed.mean() > 0.8
            continue
        assert (raw.flag == Flag.UNOBSERVED).all() and not raw.observed.any()
        with pytest.raises(DegenerateError, match="no joint is seen"):
            estimate_motion(raw, rig, views, MotionSettings())
