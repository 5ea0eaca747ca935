"""The normal equations against slow plain ones, the guards, and what a prior holds."""

import numpy as np
import pytest

from inference.calibration.bundle_adjustment import Bundle, BundleModel, Prior, _Problem, adjust_bundle
from inference.calibration.observations import Observations, gather_observations
from inference.errors import ShapeError
from inference.geometry.rotation import exp
from inference.shapes import FloatArray
from tests.synthetic import BASE, make_scene, observe


def small(seed: int = 1) -> tuple[Observations, Bundle]:
    scene = make_scene(frames=12, cameras=3, seed=seed)
    observations = gather_observations(scene.rig.lenses, observe(scene, BASE, seed=seed), 5, clocks=(1,))
    rng = np.random.default_rng(seed)
    names = list(scene.joint_names)
    places = scene.xyz[observations.frame, 0][:, [names.index(n) for n in observations.joint_names]]
    first, second = observations.bones.T
    points = places + 0.01 * rng.normal(size=places.shape)
    lengths = np.linalg.norm(points[:, second] - points[:, first], axis=-1).mean(axis=0)
    R = np.stack([exp(0.01 * rng.normal(size=3)) @ c.R for c in scene.rig.cameras])
    t = np.stack([c.t + 0.02 * rng.normal(size=3) for c in scene.rig.cameras])
    offsets = rng.normal(size=(3, len(observations.joint_names), 2))
    return observations, Bundle(R, t, points, offsets, lengths, np.zeros(3), np.array([0.02, -0.01, 0.03]))


def test_the_slope_is_the_derivative_of_the_cost() -> None:
    """Every common unknown and some joints, against central differences on the rotation group."""
    observations, state = small()
    usable = observations.seen.sum(axis=0) >= 2
    rng = np.random.default_rng(3)
    prior = Prior(state.R, state.t + 0.01, np.diag(rng.uniform(10, 1000, 18)))
    problem = _Problem(observations, usable, BundleModel(offset_sigma_px=2.0, clocks=(1,), focal_sigma=0.05), prior)
    system = problem.linearised(state)
    joints = state.points.size

    def cost(step: FloatArray) -> float:
        poses = step[:18].reshape(3, 6)
        moved = Bundle(
            exp(poses[:, :3]) @ state.R,
            state.t + poses[:, 3:],
            state.points + step[problem.size :].reshape(state.points.shape) * usable[..., None],
            state.offsets + step[18 : problem.bone_at].reshape(state.offsets.shape),
            state.lengths + step[problem.bone_at : problem.shift_at],
            state.shift + np.r_[0.0, step[problem.shift_at : problem.zoom_at], 0.0],
            state.zoom + step[problem.zoom_at : problem.size],
        )
        return problem.cost(moved)

    slope = -np.concatenate([system.rhs, system.slope.ravel()])
    chosen = np.r_[: problem.size, problem.size + rng.choice(joints, 40, replace=False)]
    width = 1e-5
    for index in chosen:
        step = np.zeros(problem.size + joints)
        step[index] = width
        numeric = (cost(step) - cost(-step)) / (2 * width)
        assert slope[index] == pytest.approx(numeric, rel=2e-4, abs=2e-2), index


def test_elimination_agrees_with_the_whole_system() -> None:
    """Schur complement against the dense normal equations."""
    observations, state = small(2)
    usable = observations.seen.sum(axis=0) >= 2
    problem = _Problem(observations, usable, BundleModel(clocks=(1,), focal_sigma=0.05), None)
    system = problem.linearised(state)
    matrix, rhs, _ = problem.reduced(system, 0.0)
    size, n = problem.size, system.blocks.shape[1]
    whole = np.zeros((size + len(system.blocks) * n, size + len(system.blocks) * n))
    whole[:size, :size] = system.reduced
    for frame, (block, coupling) in enumerate(zip(system.blocks, system.coupling, strict=True)):
        at = slice(size + frame * n, size + (frame + 1) * n)
        whole[at, at], whole[at, :size], whole[:size, at] = block, coupling, coupling.T
    rest = whole[size:, :size]
    np.testing.assert_allclose(
        matrix,
        whole[:size, :size] - rest.T @ np.linalg.solve(whole[size:, size:], rest),
        atol=1e-6 * np.abs(whole).max(),
    )
    wanted = system.rhs - rest.T @ np.linalg.solve(whole[size:, size:], system.slope.ravel())
    np.testing.assert_allclose(rhs, wanted, atol=1e-6 * np.abs(system.rhs).max())


def test_a_firm_prior_holds_the_cameras_and_a_loose_one_lets_them_go() -> None:
    observations, state = small(4)
    for trust, moved in ((1e12, False), (1e-3, True)):
        prior = Prior(state.R, state.t, trust * np.eye(18))
        found = adjust_bundle(observations, state, BundleModel(), prior)
        assert (np.abs(found.bundle.t - state.t).max() > 1e-3) == moved


def test_shapes_are_checked() -> None:
    observations, state = small()
    wrong = Bundle(state.R[:2], state.t, state.points, state.offsets, state.lengths, state.shift, state.zoom)
    with pytest.raises(ShapeError, match="R has shape"):
        adjust_bundle(observations, wrong, BundleModel())
