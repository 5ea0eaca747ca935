"""What is drawn, where it stands, and in which colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.errors import ShapeError
from inference.geometry.projection import project
from inference.report import overlay
from inference.types import Flag, Keypoints2D, Keypoints3D
from tests import synthetic

CAMERA = synthetic.look_at("front", np.array([0.0, -5.0, 1.0]), np.array([0.0, 0.0, 1.0]), (-0.11, 0.02, 0, 0))


def body(sigma: float = 0.03, dof: float = float("inf")) -> Keypoints3D:
    """A pelvis, a left and a right hip of one frame; faces the camera, so its left is on the picture's right."""
    xyz = np.array([[0, 0, 1.0], [0.5, 0, 1.0], [-0.5, 0, 1.0]])[None, None]
    covariance = np.broadcast_to(sigma**2 * np.eye(3), (1, 1, 3, 3, 3))
    return Keypoints3D(
        ("pelvis", "left_hip", "right_hip"), np.zeros(1), xyz, covariance, np.full((1, 1, 3), Flag.OBSERVED), dof
    )


def blank(width: int = 1920) -> overlay.Canvas:
    return overlay.fit_canvas(np.full((1080, 1920, 3), 90, dtype=np.uint8), width)


def colour_share(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(h, w) True where a pixel is nearer to the colour than to grey."""
    difference = image.astype(float) - np.array(colour)
    return np.linalg.norm(difference, axis=-1) < 60


@pytest.mark.parametrize(("dof", "share"), [(float("inf"), 0.95), (5.0, 0.95), (5.0, 0.5), (3.0, 0.9)])
def test_the_ellipse_holds_its_share_of_samples(dof: float, share: float) -> None:
    rng = np.random.default_rng(1)
    cov = np.array([[4.0, 1.0], [1.0, 2.0]])
    normal = rng.normal(size=(200_000, 2))
    if np.isfinite(dof):  # the scale matrix that has this covariance
        normal *= np.sqrt((dof - 2) / dof) / np.sqrt(rng.chisquare(dof, (len(normal), 1)) / dof)
    inside = (normal**2).sum(axis=1) < overlay.ellipse_factor(dof, share) ** 2
    points = normal @ np.linalg.cholesky(cov).T
    same = (points * np.linalg.solve(cov, points.T).T).sum(axis=1) < overlay.ellipse_factor(dof, share) ** 2
    assert inside.mean() == pytest.approx(share, abs=0.003)  # 3.6 binomial sigmas at 50 %
    assert (inside == same).mean() > 0.9999


def test_a_gaussian_ellipse_has_the_chi_radius() -> None:
    assert overlay.ellipse_factor(float("inf")) == pytest.approx(2.4477, abs=1e-4)


def test_an_ellipse_without_a_covariance_is_refused() -> None:
    with pytest.raises(ShapeError, match="degrees of freedom"):
        overlay.ellipse_factor(2.0)


def test_the_projected_covariance_is_that_of_projected_samples() -> None:
    rng = np.random.default_rng(2)
    centre = np.array([0.9, 0.3, 1.6])
    factor = np.array([[0.02, 0, 0], [0.01, 0.03, 0], [0, -0.01, 0.015]])
    samples = project(CAMERA, centre + rng.normal(size=(200_000, 3)) @ factor.T)
    drawn = overlay.project_covariance(CAMERA, centre[None], (factor @ factor.T)[None])[0]
    assert drawn == pytest.approx(np.cov(samples.T), rel=0.03, abs=0.5)


@pytest.mark.parametrize("width", [1920, 640])
def test_the_skeleton_stands_where_the_camera_projects_it(width: int) -> None:
    canvas = blank(width)
    joints = body(sigma=1e-4)
    overlay.draw_solve(canvas, CAMERA, joints, [(0, 1), (0, 2)], 0)
    for j, colour in ((1, overlay.LEFT), (2, overlay.RIGHT)):
        x, y = canvas.place(project(CAMERA, joints.xyz[0, 0, j])).round().astype(int)
        assert colour_share(canvas.image, colour)[y, x]
    left = np.argwhere(colour_share(canvas.image, overlay.LEFT))[:, 1]
    right = np.argwhere(colour_share(canvas.image, overlay.RIGHT))[:, 1]
    assert left.min() > right.max()  # the subject faces us: its left is on our right


def test_a_bone_is_bent_by_the_lens() -> None:
    strong = replace(CAMERA, intrinsics=replace(CAMERA.intrinsics, distortion=np.array([-0.25, 0, 0, 0])))
    joints = replace(body(1e-4), xyz=np.array([[0.0, 0, 2.6], [1.8, 0, 2.6], [-1.8, 0, 2.6]])[None, None])
    canvas = blank()
    overlay.draw_solve(canvas, strong, joints, [(1, 2)], 0)
    x, y = project(strong, np.array([0.9, 0, 2.6])).round().astype(int)
    assert colour_share(canvas.image, overlay.RIGHT)[y - 1 : y + 2, x].any()


def test_a_larger_covariance_covers_more_and_stays_translucent() -> None:
    areas = []
    for sigma in (0.04, 0.08):
        canvas = blank()
        overlay.draw_solve(canvas, CAMERA, body(sigma), [], 0)
        areas.append((canvas.image != 90).any(axis=-1).sum())
    x, y = project(CAMERA, np.array([0.5, 0, 1.1])).astype(int)
    assert areas[1] == pytest.approx(4 * areas[0], rel=0.15)
    assert canvas.image[y, x] == pytest.approx(0.4 * np.array(overlay.LEFT) + 0.6 * 90, abs=2)


@pytest.mark.parametrize("where", [(0.0, -7.0, 1.0), (np.nan, np.nan, np.nan), (40.0, 0.0, 1.0)])
def test_joints_behind_missing_or_far_outside_are_left_out(where: tuple[float, float, float]) -> None:
    joints = body(1e-4)
    xyz, covariance = joints.xyz.copy(), joints.covariance.copy()
    xyz[0, 0, 1] = where
    if np.isnan(where[0]):
        covariance[0, 0, 1] = np.nan
    canvas = blank()
    overlay.draw_solve(canvas, CAMERA, replace(joints, xyz=xyz, covariance=covariance), [(0, 1)], 0)
    assert not colour_share(canvas.image, overlay.LEFT).any()
    assert colour_share(canvas.image, overlay.RIGHT).any()


def test_crosses_stand_on_the_observed_keypoints_alone() -> None:
    xy = np.array([[[[300.0, 200.0], [np.nan, np.nan], [900.0, 700.0]]]])
    covariance = np.where(np.isfinite(xy)[..., None], np.eye(2), np.nan)
    score = np.array([[[0.9, 0.0, 0.2]]])
    view = Keypoints2D("front", ("a", "b", "c"), np.zeros(1), xy, covariance, score)
    canvas = blank(960)
    overlay.draw_keypoints(canvas, view, 0, min_score=0.5)
    rows, columns = np.nonzero((canvas.image != 90).any(axis=-1))
    assert (columns.mean(), rows.mean()) == pytest.approx((150.0 - 0.25, 100.0 - 0.25), abs=0.5)
    assert np.ptp(columns) < 20


def test_a_window_moves_the_drawing_along() -> None:
    whole = blank()
    part = overlay.fit_canvas(whole.image, 400, (700, 300, 800, 500))
    assert part.image.shape == (250, 400, 3)
    assert part.place(np.array([700.0, 300.0])) == pytest.approx([-0.25, -0.25])
    assert part.place(np.array([1499.0, 799.0])) == pytest.approx([399.25, 249.25])


def test_the_window_of_the_subject_holds_it_and_stays_inside() -> None:
    joints = body()
    left, top, wide, high = overlay.subject_window(CAMERA, joints.xyz)
    xy = project(CAMERA, joints.xyz).reshape(-1, 2)
    assert (xy > [left, top]).all() and (xy < [left + wide, top + high]).all()
    assert left >= 0 and top >= 0 and left + wide <= 1920 and top + high <= 1080
    assert 0.59 < wide / high < 1.81 and high >= 0.4 * 1080 - 1
    assert overlay.subject_window(CAMERA, joints.xyz * np.nan) == (0, 0, 1920, 1080)


def test_captions_of_any_script_are_written() -> None:
    canvas = blank(640)
    overlay.draw_caption(canvas, "caméra 日本")
    overlay.draw_legend(canvas)
    assert (canvas.image[:30] > 150).any() and (canvas.image[-30:] > 150).any()
    assert (canvas.image[150:200] == 90).all()
