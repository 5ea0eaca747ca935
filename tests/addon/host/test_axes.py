"""Conversions with numbers worked by hand, and ellipsoids that do not spin."""

import ast
from pathlib import Path

import numpy as np
import pytest
from sightline.addon.host import axes
from sightline.inference.errors import CalibrationError, ShapeError
from sightline.inference.types import Camera, Intrinsics, Skeleton


def lens(K, size=(200, 100)):
    return Intrinsics("a", size, np.array(K, dtype=float), np.zeros(0), "none")


def test_imports_no_bpy():
    tree = ast.parse(Path(axes.__file__).read_text(encoding="utf-8"))
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert names and not [n for n in names if n.split(".")[0] in ("bpy", "mathutils")]


def test_camera_by_hand():
    # 200 x 100 px, f = 100, principal point at the centre of pixel (119, 39): 119.5, 39.5 from the corner.
    camera = Camera(lens([[100, 0, 119], [0, 100, 39], [0, 0, 1]]), np.eye(3), np.array([1.0, 2.0, 3.0]))
    setting = axes.camera_setting(camera)
    assert setting.lens_mm == pytest.approx(18.0)  # half the 36 mm that the width stands for
    assert setting.shift_x == pytest.approx((100 - 119.5) / 200)
    assert setting.shift_y == pytest.approx((39.5 - 50) / 200)
    np.testing.assert_allclose(setting.matrix_world[:3, 3], [-1, -2, -3])
    np.testing.assert_allclose(setting.matrix_world[:3, :3], np.diag([1, -1, -1]))
    assert setting.error_px == 0


def test_two_focal_lengths_cost_what_is_said():
    setting = axes.camera_setting(Camera(lens([[121, 0, 99.5], [0, 100, 49.5], [0, 0, 1]]), np.eye(3), np.zeros(3)))
    # f = 110: 100 px from the centre become 100·110/121, 50 px become 55.
    assert setting.error_px == pytest.approx(np.hypot(100 * (1 - 110 / 121), 5.0))
    assert setting.lens_mm == pytest.approx(110 / 200 * 36)


@pytest.mark.parametrize(
    ("fps", "split"), [(25.0, (25, 1.0)), (23.976, (24, 1.001)), (30000 / 1001, (30, 1.001)), (12.5, (12, 0.96))]
)
def test_frame_rates(fps, split):
    assert axes.blender_fps(fps) == pytest.approx(split)


def test_frame_numbers():
    times = 2.0 + np.arange(5) * 1001 / 30000
    np.testing.assert_array_equal(axes.frame_numbers(times, axes.frame_rate(times), 101), [101, 102, 103, 104, 105])
    assert axes.frame_rate(times[:1]) is None


def test_rest_pose_by_hand():
    skeleton = Skeleton(("pelvis", "neck", "knee"), np.array([-1, 0, 0]), ("spine", "leg"), [[0, 0, 1], [0, 0, -1]])
    rest = axes.rest_pose(skeleton, np.array([0.5, 0.0]))
    np.testing.assert_allclose(rest.root, [0, 0, 0])  # a leg of no length: the pelvis is the lowest joint
    np.testing.assert_allclose(rest.tails, [[0, 0, 0.5], [0, 0, -0.001]])
    np.testing.assert_allclose(rest.z_axes, [[0, -1, 0], [0, -1, 0]])
    np.testing.assert_allclose(np.linalg.det(rest.root_rotation), 1.0)


def test_quaternions_and_signs():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(axes.matrices(np.array([half, 0, 0, half])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    there = axes.quaternions(axes.matrices(np.array([[half, 0, 0, half], [0.6, 0.8, 0, 0]])))
    np.testing.assert_allclose(np.abs(there), [[half, 0, 0, half], [0.6, 0.8, 0, 0]], atol=1e-12)
    q = np.array([[-0.6, 0.8, 0, 0], [0.6, -0.8, 0, 0], [-0.6, 0.8, 0.0, 0]])
    np.testing.assert_allclose(axes.continuous(q), [[0.6, -0.8, 0, 0]] * 3)


def test_factor_holds_its_share():
    assert axes.ellipsoid_factor(np.inf) ** 2 == pytest.approx(6.2514, abs=1e-4)  # chi-square table, 3 d.o.f., 90 %
    rng = np.random.default_rng(0)
    for nu in (3.0, 5.0, 30.0):
        points = rng.normal(size=(200_000, 3)) / np.sqrt(rng.chisquare(nu, size=(200_000, 1)) / nu)
        covariance = nu / (nu - 2)
        inside = (points**2).sum(axis=1) / covariance < axes.ellipsoid_factor(nu) ** 2
        assert inside.mean() == pytest.approx(0.9, abs=0.003)  # 4 standard errors
    with pytest.raises(ShapeError, match="no covariance"):
        axes.ellipsoid_factor(2.0)


def spinning(T):
    """Covariances of an ellipsoid that turns steadily by 2 degrees a frame, its axes' lengths crossing."""
    angle = np.deg2rad(2) * np.arange(T)
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros(T), np.ones(T)
    R = np.moveaxis(np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]]), -1, 0)
    sigma = np.stack([0.02 + 0.01 * np.sin(angle), 0.05 + zero, 0.02 - 0.01 * np.sin(angle)], axis=1)
    return R @ ((sigma**2)[..., None] * np.eye(3)) @ np.swapaxes(R, -1, -2)


def turns_deg(rotation):
    R = axes.matrices(rotation)
    trace = np.einsum("tij,tij->t", R[1:], R[:-1])
    return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def test_axes_do_not_spin():
    covariance = spinning(180)
    rotation, sigma = axes.ellipsoid_axes(covariance[:, None])
    R, S = axes.matrices(rotation[:, 0]), sigma[:, 0, :, None] ** 2 * np.eye(3)
    np.testing.assert_allclose(R @ S @ np.swapaxes(R, -1, -2), covariance, atol=1e-15)
    assert turns_deg(rotation[:, 0]).max() < 2.1
    assert np.linalg.norm(np.diff(rotation[:, 0], axis=0), axis=1).max() < 0.03
    # Negative control: plain eigenvectors swap when lengths cross.
    plain = np.linalg.eigh(covariance)[1]
    plain[..., 0] *= np.linalg.det(plain)[..., None]
    assert turns_deg(axes.quaternions(plain)).max() > 80


def test_gaps_are_nan_and_do_not_turn_the_axes():
    covariance = spinning(60)
    covariance[20:30] = np.nan
    rotation, sigma = axes.ellipsoid_axes(covariance[:, None])
    assert np.isnan(rotation[20:30]).all() and np.isnan(sigma[20:30]).all()
    assert np.isfinite(rotation[[19, 30]]).all()
    assert turns_deg(rotation[[19, 30], 0])[0] < 23
    assert (rotation[19, 0] * rotation[30, 0]).sum() > 0
    nothing = axes.ellipsoid_axes(np.full((5, 2, 3, 3), np.nan))
    assert np.isnan(nothing[0]).all()


def test_visibility_is_keyed_at_changes():
    seen = np.array([True, True, False, False, True])
    np.testing.assert_array_equal(axes.visibility_changes(seen), [0, 2, 4])


def test_a_blender_camera_by_hand():
    # 200 x 100 px; P00 = 1: half the width is one focal length; the axis 20 px right of the middle, 10 px below.
    projection = np.array([[1.0, 0, -0.2, 0], [0, 2.0, 0.2, 0], [0, 0, -1, -0.2], [0, 0, -1, 0]])
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])  # a camera's scale means nothing
    matrix[:3, 3] = 1, 2, 3
    camera = axes.camera_from_blender("a", matrix, projection, (200, 100))
    np.testing.assert_allclose(camera.intrinsics.K, [[100, 0, 119.5], [0, 100, 59.5], [0, 0, 1]])
    np.testing.assert_allclose(camera.R, np.diag([1, -1, -1]))
    np.testing.assert_allclose(camera.centre, [1, 2, 3])


def test_a_mirrored_camera_is_refused():
    with pytest.raises(CalibrationError, match="mirrored"):
        axes.camera_from_blender("a", np.diag([-1.0, 1, 1, 1]), np.eye(4), (200, 100))
