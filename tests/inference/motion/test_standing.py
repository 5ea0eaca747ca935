"""Standing errors: the marginalisation against a dense solution, sizes that are found, and what must not be found."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry.keypoint_noise import whitened_residuals
from inference.geometry.reprojection import Rays, rays_from_keypoints
from inference.motion import standing
from inference.motion.standing import Bones, Standing, corrected, joint_covariance, no_standing, update
from inference.shapes import FloatArray
from tests.synthetic import SCENES, Scene, disturbed_rig, make_scene, observe, pose_covariance

NU = 1e6  # as good as Gaussian
WHITE = SCENES["white"]


def _rows(scene: Scene) -> Bones:
    """Both forearms and both shins, mirrored."""
    names = scene.joint_names
    ends = [
        (f"{side}_{a}", f"{side}_{b}") for a, b in (("elbow", "wrist"), ("knee", "ankle")) for side in ("left", "right")
    ]
    rows = np.zeros((4, len(names)))
    for bone, (start, end) in enumerate(ends):
        rows[bone, names.index(end)], rows[bone, names.index(start)] = 1, -1
    lengths = np.linalg.norm(np.einsum("bj,tjx->tbx", rows, scene.xyz[:, 0]), axis=-1).mean(axis=0)
    return Bones(rows, lengths, np.full(4, 0.002), np.array([1, 0, 3, 2]))


def _stated(scene: Scene) -> FloatArray:
    views = len(scene.rig.cameras)
    covariance = np.zeros((6 * views, 6 * views))
    for v, camera in enumerate(scene.rig.cameras):
        covariance[6 * v : 6 * v + 6, 6 * v : 6 * v + 6] = pose_covariance(camera, 0.1, 0.004)
    return covariance


def _residuals(rays: Rays, bones: Bones, prior: Standing, unknown: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """All whitened residuals as a function of every frame's joints and b, stacked."""
    frames, joints = shape[:2]
    points, b = unknown[: 3 * frames * joints].reshape(frames, joints, 3), unknown[3 * frames * joints :]
    moved = corrected(rays, replace(prior, mean=b))
    seen = whitened_residuals(moved, points.reshape(-1, 3).T).ravel()
    length = np.linalg.norm(np.einsum("bj,tjx->tbx", bones.rows, points), axis=-1)
    stretch = (bones.lengths + b[len(b) - len(bones.lengths) :] - length) / bones.sigma
    return np.concatenate([seen, stretch.ravel()])


def test_marginalisation_equals_a_dense_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five frames a second apart, so that every window is one frame: the same step and covariance to a percent.

    The dense problem has all joints of all frames and b as unknowns, by central differences; a ridge of 1/m² on the
    joints and second derivatives of the residuals are what may differ.
    """
    monkeypatch.setattr(standing, "_SIZES", np.array([1.0]))
    monkeypatch.setattr(standing, "_MOST_INDEPENDENT", 1e12)
    monkeypatch.setattr(standing, "_shared", lambda error, good: 1e-12)
    scene = make_scene(5, cameras=3, fps=1.0, seed=3)
    views = observe(scene, replace(WHITE, offset_px=3.0), 4)
    rays, bones, joints = rays_from_keypoints(scene.rig, views, 0.1), _rows(scene), scene.xyz[:, 0]
    prior = no_standing(rays, joints, bones.mirror, _stated(scene))
    found = update(prior, rays, joints, bones, scene.timestamps_s, 1.0, NU)
    ours = joint_covariance(found, rays, joints, bones, scene.timestamps_s, NU, np.eye(joints.shape[1]))

    start = np.concatenate([joints.ravel(), prior.mean])
    step = np.full(len(start), 1e-6)
    columns = [
        (
            _residuals(rays, bones, prior, start + e, joints.shape[:2])
            - _residuals(rays, bones, prior, start - e, joints.shape[:2])
        )
        / 2e-6
        for e in np.diag(step)
    ]
    slope = np.array(columns).T
    count = joints.size
    matrix = slope.T @ slope
    matrix[count:, count:] += np.linalg.inv(prior.basis @ prior.basis.T)
    inverse = np.linalg.inv(matrix)
    dense = -inverse @ slope.T @ _residuals(rays, bones, prior, start, joints.shape[:2])
    sigma = np.sqrt(np.diag(inverse))[count:]
    assert np.abs((found.mean - dense[count:]) / sigma).max() < 0.02
    np.testing.assert_allclose(np.diag(found.covariance), sigma**2, rtol=0.01)
    given = np.linalg.inv(matrix[:count, :count])
    added = np.diag(inverse)[:count] - np.diag(given)
    np.testing.assert_allclose(np.diagonal(ours, axis1=-2, axis2=-1).ravel(), added, rtol=0.02, atol=1e-9)


def test_offsets_and_cameras_are_told_apart() -> None:
    """Exact cameras under offsets of 4 px; cameras turned by 0.15° without offsets; neither (the negative control)."""
    sizes = {}
    for name, offset_px, turn in (("offsets", 4.0, 0.0), ("cameras", 0.0, 0.15), ("neither", 0.0, 0.0)):
        scene = make_scene(120, seed=5)
        rig = disturbed_rig(scene.rig, turn, 0.005, 6, stated=False) if turn else scene.rig
        rays = rays_from_keypoints(rig, observe(scene, replace(WHITE, offset_px=offset_px), 7), 0.1)
        bones, joints = _rows(scene), scene.xyz[:, 0]
        found = no_standing(rays, joints, bones.mirror, np.zeros((24, 24)))
        for _ in range(2):
            found = update(found, corrected(rays, found), joints, bones, scene.timestamps_s, 1.0, 5.0)
        sizes[name] = found.sizes
    assert sizes["offsets"][0] == pytest.approx(4 / 3, rel=0.25)
    assert sizes["offsets"][1] < 1.5e-3
    assert sizes["cameras"][0] < 0.15
    assert sizes["cameras"][1] == pytest.approx(np.deg2rad(0.15), rel=0.6)
    assert sizes["neither"][0] < 0.15 and sizes["neither"][1] < 3e-4


def test_known_offsets_are_found_as_well_as_is_said() -> None:
    """Offsets of the views less their estimate, squared, over its variance: 1 on average, three seeds of 136 numbers.

    What the lens does to an offset at the picture's edge (a few percent) is not modelled, and frames never count
    in full; hence 0.6–1.5.
    """
    ratios = []
    for seed in range(3):
        scene = make_scene(90, seed=seed)
        rng = np.random.default_rng(seed)
        noise = replace(WHITE, sigma_px=4.0, correlation=0.75)
        offsets = 4.0 * rng.normal(size=(4, 17, 2))
        views = observe(scene, noise, seed + 9)
        views = tuple(replace(view, xy=view.xy + o) for view, o in zip(views, offsets, strict=True))
        rays, bones, joints = rays_from_keypoints(scene.rig, views, 0.1), _rows(scene), scene.xyz[:, 0]
        found = no_standing(rays, joints, bones.mirror, np.zeros((24, 24)))
        for _ in range(2):
            found = update(found, corrected(rays, found), joints, bones, scene.timestamps_s, 1 / 7, 5.0)
        size = found.offset.size
        error = found.mean[:size] - (offsets / 1400).ravel()
        ratios.append(error @ np.linalg.solve(found.covariance[:size, :size], error) / size)
    assert 0.6 < np.mean(ratios) < 1.5


def test_shifts_of_the_whole_person_are_told_from_errors_of_single_joints() -> None:
    rng = np.random.default_rng(3)
    good = np.ones((200, 17), bool)
    alike = np.repeat(rng.normal(size=(200, 1, 2)), 17, axis=1)
    assert standing._shared(alike + rng.normal(size=alike.shape), good) == pytest.approx(0.5, abs=0.1)
    assert standing._shared(rng.normal(size=alike.shape) + alike[:1], good) < 0.02
    assert standing._shared(alike, np.zeros_like(good)) == standing._LEAST_SHARED


def test_shared_shifts_are_not_taken_for_cameras() -> None:
    """Shifts of 3 px that last for a third of the take: with their share of the noise cameras stay almost exact."""
    scene = make_scene(90, seed=5)
    rng = np.random.default_rng(2)
    views = observe(scene, replace(WHITE, correlation=0.8), 7)
    shifts = np.repeat(rng.normal(size=(4, 9, 1, 1, 2)), 10, axis=1)
    shifts = 3.0 * (shifts - shifts.mean(axis=1, keepdims=True))
    views = tuple(replace(view, xy=view.xy + s) for view, s in zip(views, shifts, strict=True))
    rays, bones, joints = rays_from_keypoints(scene.rig, views, 0.1), _rows(scene), scene.xyz[:, 0]
    start = no_standing(rays, joints, bones.mirror, np.zeros((24, 24)))
    assert update(start, rays, joints, bones, scene.timestamps_s, 1 / 9, 5.0).sizes[1] < 1e-3
