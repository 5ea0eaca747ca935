"""The normal equations against slow plain ones, the guards, and what a prior holds."""

from dataclasses import replace

import numpy as np
import pytest

from inference.calibration.bundle_adjustment import Bundle, BundleModel, Prior, _Problem, adjust_bundle
from inference.calibration.elimination import System, body_parts
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


def by_joint(system: System, shape: tuple[int, ...]) -> FloatArray:
    """(F, J, 3) right sides of the joints, gathered from the parts."""
    slope = np.full(shape, np.nan)
    for part in system.parts:
        slope[:, part.joints] = part.slope.reshape(len(part.slope), -1, 3)
    return slope


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

    slope = -np.concatenate([system.rhs, by_joint(system, state.points.shape).ravel()])
    chosen = np.r_[: problem.size, problem.size + rng.choice(joints, 40, replace=False)]
    width = 1e-5
    for index in chosen:
        step = np.zeros(problem.size + joints)
        step[index] = width
        numeric = (cost(step) - cost(-step)) / (2 * width)
        assert slope[index] == pytest.approx(numeric, rel=2e-4, abs=2e-2), index


def test_elimination_agrees_with_the_whole_system() -> None:
    """Schur complement of the parts, and the joints' steps, against the dense normal equations."""
    observations, state = small(2)
    usable = observations.seen.sum(axis=0) >= 2
    problem = _Problem(observations, usable, BundleModel(clocks=(1,), focal_sigma=0.05), None)
    system = problem.linearised(state)
    matrix, rhs, solutions = system.reduced(0.0)
    size, (moments, joints, _) = problem.size, state.points.shape
    whole = np.zeros((size + state.points.size, size + state.points.size))
    whole[:size, :size] = system.own
    for part in system.parts:
        for moment in range(moments):
            rows = (size + 3 * (moment * joints + part.joints)[:, None] + np.arange(3)).ravel()
            whole[np.ix_(rows, rows)] = part.blocks[moment]
            whole[np.ix_(rows, part.columns)] = part.coupling[moment]
            whole[np.ix_(part.columns, rows)] = part.coupling[moment].T
    rest, right = whole[size:, :size], by_joint(system, state.points.shape).ravel()
    np.testing.assert_allclose(
        matrix,
        whole[:size, :size] - rest.T @ np.linalg.solve(whole[size:, size:], rest),
        atol=1e-6 * np.abs(whole).max(),
    )
    wanted = system.rhs - rest.T @ np.linalg.solve(whole[size:, size:], right)
    np.testing.assert_allclose(rhs, wanted, atol=1e-6 * np.abs(system.rhs).max())
    step = np.random.default_rng(5).normal(size=size) * 1e-3
    steps = np.linalg.solve(whole[size:, size:], right - rest @ step)
    found = system.joint_steps(solutions, step, state.points.shape)
    np.testing.assert_allclose(found.ravel(), steps, atol=1e-9 * np.abs(steps).max())


def test_the_equations_are_the_second_derivative_where_the_model_is_straight() -> None:
    """Joints with the offsets that they touch, against differences of the slope, where weights do not change."""
    observations, state = small(3)
    usable = observations.seen.sum(axis=0) >= 2
    problem = _Problem(observations, usable, BundleModel(degrees_of_freedom=1e9, bone_sigma_m=1e3), None)
    system, step = problem.linearised(state), 1e-6
    for joint in range(0, len(observations.joint_names), 5):
        part = next(p for p in system.parts if joint in p.joints)
        row = 3 * int(np.flatnonzero(part.joints == joint)[0])
        for column in np.flatnonzero((part.columns >= 18) & (part.columns < problem.bone_at)):
            slopes = []
            for sign in (1, -1):
                offsets = state.offsets.copy()
                offsets.reshape(-1)[part.columns[column] - 18] += sign * step
                moved = problem.linearised(replace(state, offsets=offsets))
                slopes.append(by_joint(moved, state.points.shape)[:, joint])
            numeric = -(slopes[0] - slopes[1]) / (2 * step)
            np.testing.assert_allclose(part.coupling[:, row : row + 3, column], numeric, rtol=1e-4, atol=1e-2)


def test_parts_are_what_bones_join() -> None:
    bones = np.array([[0, 1], [4, 3], [1, 2]])
    assert [part.tolist() for part in body_parts(6, bones)] == [[0, 1, 2], [3, 4], [5]]
    assert [part.tolist() for part in body_parts(2, bones[:0])] == [[0], [1]]


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
