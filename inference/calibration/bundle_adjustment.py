"""Bundle adjustment: all cameras, all joints, bone lengths and standing offsets at once, under Student-t noise.

Joints are eliminated moment by moment (Schur complement), which leaves one small system over what is common to all
moments: V camera poses, a standing offset per view and joint, a length per bone, clocks and focal lengths where they
are unknown too. Robust weights as in iteratively
reweighted least squares for the t distribution; Levenberg-Marquardt; all derivatives are analytic.
Triggs et al. 2000, "Bundle adjustment: a modern synthesis", sections 4 and 6; Lange et al. 1989 for the t weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag, null_space

from ..geometry.rotation import exp, log
from ..shapes import BoolArray, FloatArray, IntArray, check_shapes
from .elimination import Part, System, body_parts
from .gauge import gauge_constraints
from .observations import Observations

_NEAR_M = 0.05  # a joint nearer to a camera than this, or behind it, has no say
_BOUND = 30.0  # sigmas; keeps the cost of a joint that runs behind a camera finite
_DAMPING = (1e-8, 1e6)
_FIRM = 1e2  # of the largest information, on what the gauge holds
_FAINT = 1e-3  # 1/m²; keeps the place of a joint without a say


@dataclass(frozen=True)
class BundleModel:
    """What is assumed of the noise."""

    degrees_of_freedom: float = 5.0  # of the Student t of keypoints
    noise_scale: float = 1.0  # errors over what the keypoints state
    lasting: float = 1.0  # moments for which an error lasts: that many say what one would if errors were independent
    offset_sigma_px: float = 2.0  # standing offsets per view and joint; 0: there are none
    clocks: tuple[int, ...] = ()  # views whose clocks are unknown too
    focal_sigma: float = 0.0  # share by which given focal lengths may be off; 0: they are exact
    bone_sigma_m: float | FloatArray = 0.02  # how far the joints' detections let a bone's length wander; (B,) or all
    iterations: int = 40
    tolerance: float = 1e-6  # relative fall of the cost that ends the search
    hold_gauge: bool = True  # steps stay where the world is: quicker near the answer, stiffer far from it


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of the camera poses beforehand: their mean and information."""

    R: FloatArray  # (V, 3, 3)
    t: FloatArray  # (V, 3)
    information: FloatArray  # (6V, 6V) of (left rotation vector, t)


@dataclass(frozen=True, eq=False)
class Bundle:
    """All unknowns."""

    R: FloatArray  # (V, 3, 3) camera from world
    t: FloatArray  # (V, 3)
    points: FloatArray  # (F, J, 3), NaN where too few views see the joint
    offsets: FloatArray  # (V, J, 2) px
    lengths: FloatArray  # (B,)
    shift: FloatArray  # (V,) s, to be added to the views' offsets
    zoom: FloatArray  # (V,) logarithms of the focal lengths over the given ones


@dataclass(frozen=True, eq=False)
class BundleResult:
    """The estimate, with what the last step knew."""

    bundle: Bundle
    cost: float
    information: FloatArray  # (6V, 6V) of the poses, all else eliminated, gauge still free
    offset_variance: FloatArray  # (V, J) px², of the offsets, the gauge held
    zoom_sigma: FloatArray  # (V,) of the zooms, the gauge held; 0 where they are exact
    squared: FloatArray  # (V, F, J) squared residuals in stated sigmas times noise_scale; NaN where not used
    error_px: FloatArray  # (V, F, J, 2) residuals; NaN where not used
    iterations: int


def adjust_bundle(
    observations: Observations,
    start: Bundle,
    model: BundleModel,
    prior: Prior | None = None,
) -> BundleResult:
    """Minimise the t-likelihood of all keypoints over cameras, joints, offsets and bone lengths.

    Convention:
        without a prior the gauge (rotation, position, scale of the world) stays where the start has it, up to small
        drifts; the information returned is singular in those seven directions.

    Args:
        observations: V views, F moments, J joints.
        start: values to start from; joints that are NaN stay so.
        model: noise.
        prior: of the camera poses, when they are refined rather than solved.

    Returns:
        The estimate.

    Raises:
        ShapeError: start does not fit the observations.
    """
    v, f, j = observations.weight.shape
    check_shapes(R=(start.R, f"{v} 3 3"), t=(start.t, f"{v} 3"), points=(start.points, f"{f} {j} 3"))
    usable = np.isfinite(start.points).all(axis=-1) & (observations.seen.sum(axis=0) >= 2)
    problem = _Problem(observations, usable, model, prior)
    state = replace(start, points=np.where(usable[..., None], start.points, 0.0))
    damping, cost, count = 1e-4, problem.cost(state), 0
    system = problem.linearised(state)
    while count < model.iterations:
        count += 1
        trial = problem.moved(state, system, damping)
        trial_cost = problem.cost(trial)
        if trial_cost < cost:
            fall, cost, state = cost - trial_cost, trial_cost, trial
            damping = max(damping / 10, _DAMPING[0])
            system = problem.linearised(state)
            if fall < model.tolerance * cost:
                break
        else:
            damping *= 10
            if damping > _DAMPING[1]:
                break
    return problem.result(state, system, cost, count)


class _Problem:
    """The observations with everything that does not change between steps."""

    def __init__(self, observations: Observations, usable: BoolArray, model: BundleModel, prior: Prior | None) -> None:
        self.o, self.usable, self.model, self.prior = observations, usable, model, prior
        self.views, self.moments, self.joints = observations.weight.shape
        self.bones = observations.bones
        self.weight = np.where(usable, observations.weight, 0.0) / model.noise_scale
        self.seen = self.weight > 0
        self.with_offsets = model.offset_sigma_px > 0
        first, second = self.bones.T
        self.bone_seen = usable[:, first] & usable[:, second]  # (F, B)
        self.offset_at = 6 * self.views
        self.bone_at = self.offset_at + (2 * self.views * self.joints if self.with_offsets else 0)
        self.shift_at = self.bone_at + len(self.bones)
        self.zoom_at = self.shift_at + len(model.clocks)
        self.size = self.zoom_at + (self.views if model.focal_sigma else 0)
        self.parts = body_parts(self.joints, self.bones)

    def residuals(self, state: Bundle) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(V, F, J, 2) px, (V, F, J) squared in sigmas, and (V, F, J, 3) joints in the cameras."""
        turned = state.points.reshape(-1, 3) @ np.swapaxes(state.R, -1, -2)  # (V, FJ, 3)
        inside = turned.reshape(self.views, *state.points.shape) + state.t[:, None, None]
        depth = np.maximum(inside[..., 2:], _NEAR_M)
        focal = self.o.focal_px[:, None, None, None]
        rays = self.o.rays - state.shift[:, None, None, None] * self.o.velocity
        zoom = np.exp(state.zoom)[:, None, None, None]
        error = focal * (zoom * inside[..., :2] / depth - rays) + state.offsets[:, None]
        squared = (error**2).sum(axis=-1) * self.weight**2
        squared = np.where(inside[..., 2] > _NEAR_M, squared, np.where(self.seen, _BOUND**2, 0.0))
        return error, squared, inside

    def cost(self, state: Bundle) -> float:
        """Negative log likelihood up to a constant."""
        _, squared, _ = self.residuals(state)
        nu = self.model.degrees_of_freedom
        total = (nu + 2) / 2 * np.log1p(squared / nu)[self.seen].sum() / self.model.lasting
        total += (nu + 1) / 2 * np.log1p(self._bone_errors(state)[1] ** 2 / nu)[self.bone_seen].sum()
        if self.with_offsets:
            total += 0.5 * (state.offsets**2).sum() / self.model.offset_sigma_px**2
        if self.model.focal_sigma:
            total += 0.5 * (state.zoom**2).sum() / self.model.focal_sigma**2
        if self.prior is not None:
            off = self._from_prior(state)
            total += 0.5 * off @ self.prior.information @ off
        return float(total)

    def _from_prior(self, state: Bundle) -> FloatArray:
        assert self.prior is not None
        turned = log(state.R @ np.swapaxes(self.prior.R, -1, -2))
        return np.concatenate([turned, state.t - self.prior.t], axis=-1).ravel()

    def _bone_errors(self, state: Bundle) -> tuple[FloatArray, FloatArray]:
        """(F, B, 3) unit directions and (F, B) errors in sigmas."""
        first, second = self.bones.T
        along = state.points[:, second] - state.points[:, first]
        length = np.linalg.norm(along, axis=-1)
        direction = along / np.maximum(length, 1e-9)[..., None]
        return direction, (length - state.lengths) / self.model.bone_sigma_m

    def linearised(self, state: Bundle) -> System:
        """Return the weighted normal equations."""
        v, f, j = self.weight.shape
        error, squared, inside = self.residuals(state)
        nu = self.model.degrees_of_freedom
        trust = self.weight**2 * (nu + 2) / (nu + squared) / self.model.lasting
        w = np.where(inside[..., 2] > _NEAR_M, trust, 0.0)
        sums = _Sums(
            np.zeros((self.size, self.size)),
            np.zeros(self.size),
            np.zeros((f, j, 3, 3)) + np.where(self.usable, _FAINT, 1.0)[..., None, None] * np.eye(3),
            np.zeros((f, j, 3, self.offset_at)),
            np.zeros((f, j, 3, v if self.with_offsets else 0, 2)),
            np.zeros((f, j, 3, self.size - self.shift_at)),
            np.zeros((f, j, 3)),
        )
        for view in range(v):  # a handful of views
            depth = np.maximum(inside[view, ..., 2], _NEAR_M)
            by_inside = self._by_inside(view, inside[view], depth, state)  # (F, J, 2, 3)
            by_point = (by_inside.reshape(-1, 3) @ state.R[view]).reshape(f, j, 2, 3)
            turned = (inside[view] - state.t[view])[..., None, :]
            by_pose = np.concatenate([_cross(turned, by_inside), by_inside], axis=-1)
            pose, e = slice(6 * view, 6 * view + 6), error[view, ..., None]
            weighted = w[view, ..., None, None] * by_pose
            flat = weighted.reshape(-1, 6)
            sums.own[pose, pose] += flat.T @ by_pose.reshape(-1, 6)
            sums.slope[pose] -= flat.T @ e.ravel()
            lifted = np.swapaxes(w[view, ..., None, None] * by_point, -1, -2)
            sums.block[:] += _product(lifted, by_point)
            sums.by_pose[..., pose] = _product(lifted, by_pose)
            sums.rhs[:] -= _product(lifted, e)[..., 0]
            if self.with_offsets:
                self._add_offsets(view, sums, (w[view], weighted, lifted, error[view]))
            single = self._single(view, inside[view, ..., :2] / depth[..., None], state)
            self._add_single(view, single, sums, (w[view], weighted, lifted, error[view]))
        parts = [self._part(joints, sums) for joints in self.parts]
        self._add_bones(state, sums, parts)
        self._add_priors(state, sums.own, sums.slope)
        return System(sums.own, sums.slope, parts)

    def _part(self, joints: IntArray, sums: _Sums) -> Part:
        """Return a part's equations, still without its bones."""
        f, count = len(sums.rhs), len(joints)
        bones = np.flatnonzero(np.isin(self.bones[:, 0], joints))
        views = self.views if self.with_offsets else 0
        offsets = self.offset_at + 2 * (np.arange(views)[:, None] * self.joints + joints[:, None, None]) + np.arange(2)
        columns = [
            np.arange(self.offset_at),
            np.arange(self.shift_at, self.size),
            offsets.ravel(),
            self.bone_at + bones,
        ]
        blocks = np.zeros((f, count, 3, count, 3))
        by_offset = np.zeros((f, count, 3, count, views, 2))
        own = np.arange(count)
        blocks[:, own, :, own] = np.swapaxes(sums.block[:, joints], 0, 1)
        by_offset[:, own, :, own] = np.swapaxes(sums.by_offset[:, joints], 0, 1)
        coupling = np.concatenate(
            [
                sums.by_pose[:, joints],
                sums.by_single[:, joints],
                by_offset.reshape(f, count, 3, -1),
                np.zeros((f, count, 3, len(bones))),
            ],
            axis=-1,
        )
        return Part(
            joints,
            np.concatenate(columns),
            blocks.reshape(f, 3 * count, 3 * count),
            coupling.reshape(f, 3 * count, -1),
            sums.rhs[:, joints].reshape(f, 3 * count),
        )

    def _by_inside(self, view: int, inside: FloatArray, depth: FloatArray, state: Bundle) -> FloatArray:
        slopes = np.zeros((*depth.shape, 2, 3))
        scale = self.o.focal_px[view] * np.exp(state.zoom[view]) / depth
        slopes[..., 0, 0] = slopes[..., 1, 1] = scale
        slopes[..., 2] = -scale[..., None] * inside[..., :2] / depth[..., None]
        return slopes

    def _add_offsets(self, view: int, sums: _Sums, parts: tuple[FloatArray, ...]) -> None:
        w, weighted, lifted, error = parts
        own, pose = sums.own, slice(6 * view, 6 * view + 6)
        at = self.offset_at + 2 * (view * self.joints + np.arange(self.joints))
        cross = weighted.sum(axis=0)  # (J, 2, 6)
        for axis in (0, 1):
            columns = at + axis
            own[columns, columns] += w.sum(axis=0)
            own[columns, pose] += cross[:, axis]
            own[pose, columns] += cross[:, axis].T
            sums.slope[columns] -= (w * error[..., axis]).sum(axis=0)
        sums.by_offset[..., view, :] = lifted

    def _single(self, view: int, rays: FloatArray, state: Bundle) -> dict[int, FloatArray]:
        """Derivatives (F, J, 2) of a view's residuals by its clock and its zoom, by the place of these unknowns."""
        focal, found = self.o.focal_px[view], {}
        if view in self.model.clocks:
            found[self.shift_at + self.model.clocks.index(view)] = focal * self.o.velocity[view]
        if self.model.focal_sigma:
            found[self.zoom_at + view] = focal * np.exp(state.zoom[view]) * rays
        return found

    def _add_single(
        self,
        view: int,
        single: dict[int, FloatArray],
        sums: _Sums,
        parts: tuple[FloatArray, ...],
    ) -> None:
        own = sums.own
        w, weighted, lifted, error = parts
        pose = slice(6 * view, 6 * view + 6)
        for at, moved in single.items():  # a clock and a zoom at most
            for other, beside in single.items():
                own[at, other] += (w[..., None] * moved * beside).sum()
            own[at, at] += 1e-9
            own[at, pose] += np.einsum("fja,fjab->b", moved, weighted)
            own[pose, at] = own[at, pose]
            if self.with_offsets:
                columns = self.offset_at + 2 * (view * self.joints + np.arange(self.joints))[:, None] + np.arange(2)
                own[at, columns] = own[columns, at] = (w[..., None] * moved).sum(axis=0)
            sums.slope[at] -= (w[..., None] * moved * error).sum()
            sums.by_single[..., at - self.shift_at] = _product(lifted, moved[..., None])[..., 0]

    def _add_bones(self, state: Bundle, sums: _Sums, parts: list[Part]) -> None:
        direction, error = self._bone_errors(state)
        nu, sigma = self.model.degrees_of_freedom, self.model.bone_sigma_m
        w = np.where(self.bone_seen, (nu + 1) / (nu + error**2), 0.0) / sigma**2
        pull = w * error * sigma
        for part in parts:
            where = {int(joint): slice(3 * row, 3 * row + 3) for row, joint in enumerate(part.joints)}
            for column in np.flatnonzero((part.columns >= self.bone_at) & (part.columns < self.shift_at)):
                bone = part.columns[column] - self.bone_at  # a dozen bones
                a, b = (where[int(end)] for end in self.bones[bone])
                d, weight = direction[:, bone], w[:, bone, None]
                outer = weight[..., None] * d[:, :, None] * d[:, None, :]
                part.blocks[:, a, a] += outer
                part.blocks[:, b, b] += outer
                part.blocks[:, a, b] -= outer
                part.blocks[:, b, a] -= outer
                part.coupling[:, b, column] -= weight * d
                part.coupling[:, a, column] += weight * d
                part.slope[:, b] -= pull[:, bone, None] * d
                part.slope[:, a] += pull[:, bone, None] * d
        at = np.arange(self.bone_at, self.shift_at)
        sums.own[at, at] += w.sum(axis=0) + 1e-6
        sums.slope[at] += pull.sum(axis=0)

    def _add_priors(self, state: Bundle, own: FloatArray, slope: FloatArray) -> None:
        if self.with_offsets:
            offsets = np.arange(self.offset_at, self.bone_at)
            trust = self.model.offset_sigma_px**-2
            own[offsets, offsets] += trust
            slope[offsets] -= trust * state.offsets.ravel()
        if self.model.focal_sigma:
            zooms, trust = np.arange(self.zoom_at, self.size), self.model.focal_sigma**-2
            own[zooms, zooms] += trust
            slope[zooms] -= trust * state.zoom
        if self.prior is not None:
            poses = slice(0, self.offset_at)
            own[poses, poses] += self.prior.information
            slope[poses] -= self.prior.information @ self._from_prior(state)

    def moved(self, state: Bundle, system: System, damping: float) -> Bundle:
        """Return the state after one damped step."""
        matrix, rhs, solutions = system.reduced(damping)
        if self.model.hold_gauge:  # steps along it cost nothing but what they bend
            self._hold_gauge(matrix, state)
        scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-12))
        step = scale * np.linalg.lstsq(scale[:, None] * matrix * scale, scale * rhs, rcond=1e-13)[0]
        poses = step[: self.offset_at].reshape(self.views, 6)
        offsets = state.offsets
        if self.with_offsets:
            offsets = offsets + step[self.offset_at : self.bone_at].reshape(offsets.shape)
        shift = state.shift.copy()
        shift[list(self.model.clocks)] += step[self.shift_at : self.zoom_at]
        return Bundle(
            exp(poses[:, :3]) @ state.R,
            state.t + poses[:, 3:],
            state.points + system.joint_steps(solutions, step, state.points.shape),
            offsets,
            state.lengths + step[self.bone_at : self.shift_at],
            shift,
            state.zoom + (step[self.zoom_at :] if self.model.focal_sigma else 0.0),
        )

    def _hold_gauge(self, matrix: FloatArray, state: Bundle) -> None:
        if self.prior is None:
            fixed = gauge_constraints(state.R, state.t)
            matrix[: self.offset_at, : self.offset_at] += _FIRM * np.diag(matrix).max() * fixed.T @ fixed

    def result(self, state: Bundle, system: System, cost: float, iterations: int) -> BundleResult:
        """Bring the state out, with the information of the poses."""
        matrix, _, _ = system.reduced(0.0)
        poses, rest = slice(0, self.offset_at), slice(self.offset_at, None)
        information, variance = matrix[poses, poses], np.zeros(state.offsets.shape[:2])
        if self.size > self.offset_at:
            ridge = 1e-9 * np.diag(np.diag(matrix[rest, rest])) + 1e-12 * np.eye(self.size - self.offset_at)
            inverse = np.linalg.inv(matrix[rest, rest] + ridge)
            information = information - matrix[poses, rest] @ inverse @ matrix[rest, poses]
            if self.with_offsets:
                variance = self._offset_variance(matrix.copy(), state)
        error, squared, _ = self.residuals(state)
        points = np.where(self.usable[..., None], state.points, np.nan)
        return BundleResult(
            replace(state, points=points),
            cost,
            (information + information.T) / 2,
            variance,
            self._zoom_sigma(matrix, state),
            np.where(self.seen, squared, np.nan),
            np.where(self.seen[..., None], error, np.nan),
            iterations,
        )

    def _offset_variance(self, matrix: FloatArray, state: Bundle) -> FloatArray:
        """(V, J) with the poses unknown too: the offsets that look like a turned camera stay unsure."""
        self._hold_gauge(matrix, state)
        scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-12))
        inverse = np.linalg.pinv(scale[:, None] * matrix * scale, rcond=1e-13, hermitian=True)
        pixels = (np.diag(inverse) * scale**2)[self.offset_at : self.bone_at]
        return pixels.reshape(state.offsets.shape).mean(axis=-1)

    def _zoom_sigma(self, matrix: FloatArray, state: Bundle) -> FloatArray:
        if not self.model.focal_sigma:
            return np.zeros(self.views)
        poses = self.offset_at
        basis = np.eye(self.size)
        if self.prior is None:
            free = null_space(gauge_constraints(state.R, state.t))
            basis = np.asarray(block_diag(free, np.eye(self.size - poses)))
        inside = basis.T @ matrix @ basis
        scale = 1 / np.sqrt(np.maximum(np.diag(inside), 1e-12))
        inverse = np.linalg.pinv(scale[:, None] * inside * scale, rcond=1e-14, hermitian=True)
        return np.sqrt(np.diag(inverse)[-self.views :]) * scale[-self.views :]


@dataclass(frozen=True, eq=False)
class _Sums:
    """Normal equations as they are summed over the views, every joint still by itself."""

    own: FloatArray  # (G, G) of the common unknowns
    slope: FloatArray  # (G,)
    block: FloatArray  # (F, J, 3, 3)
    by_pose: FloatArray  # (F, J, 3, 6V)
    by_offset: FloatArray  # (F, J, 3, V, 2) by the joint's own offsets; V is 0 where there are none
    by_single: FloatArray  # (F, J, 3, S) by clocks and focal lengths
    rhs: FloatArray  # (F, J, 3)


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """Cross products along the last axis; several times quicker than NumPy's own on many small vectors."""
    (a, b, c), (x, y, z) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)


def _product(left: FloatArray, right: FloatArray) -> FloatArray:
    """(..., M, 2) times (..., 2, N), without a call for each of many small matrices."""
    return left[..., :1] * right[..., :1, :] + left[..., 1:] * right[..., 1:, :]
