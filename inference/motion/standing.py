"""What does not change over a take: standing errors of keypoints, of cameras, and the lengths of bones.

Unknown, together one vector b: an offset per view and joint (normalised image coordinates), a correction per camera
(rotation vector and t), a correction per bone length. Against b the joints follow at once (they have the whole take
to do so), so that with J_t the information of frame t's joints, B_t its coupling with b and C_t that of b itself,

    Λ = w Σ_t (C_t - B_tᵀ J_t⁻¹ B_t)

is what the take tells of b (the Schur complement of a bundle adjustment: Triggs et al. 2000, section 6.1), w the
independent share of frames whose errors have memory. The sizes of the offsets and of unstated errors of cameras are
those of the highest marginal likelihood. What no residual shows (the cameras turning about the world together)
keeps its prior; the joints' covariance is Cov(x | b) + G Cov(b) Gᵀ, G_t = -J_t⁻¹ B_t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import quad
from scipy.linalg import LinAlgError, cho_solve, cholesky

from ..geometry import rotation
from ..geometry.keypoint_noise import whitened_residuals
from ..geometry.pose_errors import pose_slopes
from ..geometry.reprojection import PointRays, Rays, camera_slopes
from ..geometry.triangulation import robust_weight
from ..shapes import BoolArray, FloatArray, IntArray
from .posterior import whitened_slope
from .splines import interpolated

_WINDOWS = 48  # places of the take at which the residuals are looked at
_WINDOW_S, _WINDOW_FRAMES = 0.4, 5  # the joints' information is averaged over so long, on so many frames
_KNOT_S, _KNOTS = 0.25, 240  # between the places for which the covariance is computed; at most so many
_MOST_INDEPENDENT = (
    100.0  # frames' worth of information that a take of any length nears: what stands does so only about
)
_WILD, _LEAST_SHARED = 16.0, 1e-4  # squared sigmas of keypoints that do not count; correlation
USUAL_TURN = 5e-4  # rad: cameras of unstated accuracy are seldom much worse (Cauchy)
_RIDGE = 1.0  # 1/m², for joints without views
_SIZES = 2.0 ** np.arange(-5, 5)  # of offsets, in stated sigmas
# rad, of cameras of unstated accuracy. A detector whose errors depend on the view looks like cameras that err by
# degrees; cameras that may all turn by degrees carry the person away, which hardly any residual shows.
_TURNS = 1e-4 * 2.0 ** np.arange(-1, 6.01, 0.5)
CENTRE = 0.5  # their centres err by so much of what the turn moves at the person's distance
_LENGTH_M, _ASYMMETRY_M = 0.1, 0.004  # sigmas of a length's correction, and of left against right


@dataclass(frozen=True, eq=False)
class Bones:
    """The bones that tie the joints together."""

    rows: FloatArray  # (B, J) bone vector = row · joints
    lengths: FloatArray  # (B,) m
    sigma: FloatArray  # (B,) m
    mirror: IntArray  # (B,) the bone on the other side of the body, or the bone itself


@dataclass(frozen=True, eq=False)
class Standing:
    """Posterior of what stands. A prior of unit size is b = basis · z; families of z: offsets, cameras, the rest."""

    shape: tuple[int, int, int]  # views V, joints J, bones B
    basis: FloatArray  # (n, m)
    family: IntArray  # (m,) 0 offsets, 1 cameras of unstated accuracy, 2 of known size
    mean: FloatArray  # (n,)
    covariance: FloatArray  # (n, n)
    sizes: tuple[float, float] = (0.5, 2e-4)  # of offsets in stated sigmas; of cameras, rad

    @property
    def offset(self) -> FloatArray:
        """(V, J, 2) in normalised image coordinates."""
        views, joints, _ = self.shape
        return self.mean[: 2 * views * joints].reshape(views, joints, 2)

    @property
    def pose(self) -> FloatArray:
        """(V, 6) rotation vectors (left-multiplied, camera axes, rad) and t (m)."""
        views, joints, _ = self.shape
        return self.mean[2 * views * joints :][: 6 * views].reshape(views, 6)

    @property
    def lengthening(self) -> FloatArray:
        """(B,) m, corrections of the bone lengths."""
        return self.mean[len(self.mean) - self.shape[2] :]


@dataclass(frozen=True, eq=False)
class _Terms:
    """Information of some windows of the take: joints J, coupling B, what is left for b.

    With a window's joints goes a shift of the whole person per view, which passes with time.
    """

    joints: FloatArray  # (K, 3J + 2V, 3J + 2V)
    coupling: FloatArray  # (K, 3J + 2V, n)
    own: FloatArray  # (n, n), summed over windows
    pull_joints: FloatArray  # (K, 3J + 2V)
    pull: FloatArray  # (n,), summed over windows


def no_standing(
    rays: Rays,  # stated, T·J points
    joints: FloatArray,  # (T, J, 3) m
    mirror: IntArray,  # (B,)
    camera_covariance: FloatArray,  # (6V, 6V); zeros: not stated
) -> Standing:
    """The prior: nothing stands so far."""
    views, (frames, count, _), bones = len(rays.R), joints.shape, len(mirror)
    size = 2 * views * count + 6 * views + bones
    offsets, poses = slice(0, 2 * views * count), slice(2 * views * count, size - bones)
    stated = bool(camera_covariance.any())
    basis = np.zeros((size, size))
    precision = np.where(rays.seen, (rays.uu + rays.vv) / 2, np.nan)
    sigma = 1 / np.sqrt(_median(precision.reshape(views, frames, count)))
    basis[offsets, offsets] = np.diag(np.repeat(sigma.ravel(), 2))
    if stated:
        values, vectors = np.linalg.eigh(camera_covariance)
        basis[poses, poses] = vectors * np.sqrt(np.maximum(values, 0))
    else:
        centres = rays.take(np.arange(frames) * count).centres
        distance = np.median(np.linalg.norm(joints - centres[:, :, None], axis=-1), axis=(1, 2))
        basis[poses, poses] = unstated_cameras(rays.R, rays.t, distance)
    other = np.eye(bones)[mirror]
    basis[size - bones :, size - bones :] = _LENGTH_M * (np.eye(bones) + other) / 2 + _ASYMMETRY_M * (
        np.eye(bones) - other
    )
    family = np.full(size, 2)
    family[offsets], family[poses] = 0, 2 if stated else 1
    return Standing((views, count, bones), basis, family, np.zeros(size), np.zeros((size, size)))


def _median(values: FloatArray) -> FloatArray:
    """(V, J) of (V, T, J), infinite where nothing is finite."""
    result = np.full((len(values), values.shape[2]), np.inf)
    for view, joint in np.ndindex(*result.shape):  # few
        column = values[view, :, joint]
        column = column[np.isfinite(column)]
        result[view, joint] = np.median(column) if len(column) else np.inf
    return result


def unstated_cameras(
    R: FloatArray,  # (V, 3, 3)
    t: FloatArray,  # (V, 3) m
    distance: FloatArray,  # (V,) m, of the person from the cameras
) -> FloatArray:
    """(6V, 6V) basis: cameras turn by 1 rad about their centres and move by what that is worth at the person."""
    basis = np.zeros((6 * len(R), 6 * len(R)))
    for view, (turned, moved) in enumerate(zip(R, t, strict=True)):
        block = pose_slopes(turned, moved) * np.repeat([1.0, CENTRE * distance[view]], 3)
        basis[6 * view : 6 * view + 6, 6 * view : 6 * view + 6] = block
    return basis


def corrected(rays: Rays, standing: Standing, joint: IntArray | None = None) -> Rays:
    """Take the offsets off the keypoints and move the cameras as far as is known; joint (N,) of each point."""
    if joint is None:
        joint = np.arange(rays.u.shape[1]) % standing.shape[1]
    by_u, by_v = np.moveaxis(standing.offset, -1, 0)
    turn = rotation.exp(standing.pose[:, :3])
    return replace(
        rays,
        R=turn @ rays.R,
        t=rays.t + standing.pose[:, 3:],
        u=rays.u - np.where(rays.seen, by_u[:, joint], 0.0),
        v=rays.v - np.where(rays.seen, by_v[:, joint], 0.0),
    )


def camera_shifts(
    standing: Standing,
    rays: PointRays,  # for its cameras
    joints: FloatArray,  # (T, J, 3) m
) -> tuple[FloatArray, FloatArray]:
    """How far the corrections of the cameras move the person in their pictures, and how surely.

    Convention:
        root mean square over joints and frames of the shift, and of its sigma; normalised image coordinates.

    Returns:
        (V,) shifts and (V,) sigmas.
    """
    views, count, _ = standing.shape
    frames = np.unique(np.linspace(0, len(joints) - 1, _WINDOWS).astype(int))
    points = joints[frames].reshape(-1, 3).T
    part = rays.take((frames[:, None] * count + np.arange(count)).ravel())
    shifts, sigmas = np.zeros(views), np.zeros(views)
    for view in range(views):
        slope = np.stack(camera_slopes(part, view, points))  # (2, 6, N)
        first = 2 * views * count + 6 * view
        block = standing.covariance[first : first + 6, first : first + 6]
        moved = np.einsum("cin,i->cn", slope, standing.pose[view])
        shifts[view] = np.sqrt((moved**2).sum(axis=0).mean())
        sigmas[view] = np.sqrt(np.einsum("cin,ij,cjn->n", slope, block, slope).mean())
    return shifts, sigmas


def shift_words(view: str, shift_px: float, sigma_px: float, moves: bool) -> str:
    """What to tell of a camera that points elsewhere than its calibration says."""
    remedy = "refine_cameras = true under [calibration] moves the camera too"
    if moves:
        remedy = "The camera moves: check that its poses count from the first picture of its video"
    return (
        f"view {view}: the camera points elsewhere than its calibration, by {shift_px:.0f} px at the person, give or "
        f"take {sigma_px:.0f}. The joints are solved with it corrected: seen through the given camera, the skeleton is "
        f"off by as much. {remedy}"
    )


def update(
    standing: Standing,
    rays: PointRays,  # corrected by ``standing``; covariances of single keypoints
    joints: FloatArray,  # (T, J, 3) m
    bones: Bones,
    times: FloatArray,  # (T,) s
    independent: float,  # share of frames that are independent of each other
    nu: float,
) -> Standing:
    """One Gauss-Newton step on b with the joints following, and the covariance of b.

    Returns:
        The posterior; its covariance averages over the likely sizes of unstated errors of cameras.
    """
    windows = _windows(times, min(_WINDOWS, len(times)))
    terms = _terms(standing, rays, joints, bones, windows, nu)
    followed = np.linalg.solve(terms.joints, np.concatenate([terms.coupling, terms.pull_joints[..., None]], axis=-1))
    flat = terms.coupling.reshape(-1, terms.coupling.shape[-1])
    drawn = flat.T @ followed.reshape(len(flat), -1)
    frames = independent * len(times)
    weight = frames / (1 + frames / _MOST_INDEPENDENT) / len(windows)
    information = weight * (terms.own - drawn[:, :-1])
    pull = weight * (terms.pull - drawn[:, -1]) + information @ standing.mean
    return _posterior(standing, 0.5 * (information + information.T), pull)


def joint_covariance(
    standing: Standing,
    rays: PointRays,
    joints: FloatArray,  # (T, J, 3) m
    bones: Bones,
    times: FloatArray,  # (T,) s
    nu: float,
    sources: FloatArray,  # (S, J) joints of the result as sums of J
) -> FloatArray:
    """(T, S, 3, 3) G Cov(b) Gᵀ: what is not known of b does to the joints, interpolated between knots."""
    knots = int(np.clip(np.ceil((times[-1] - times[0]) / _KNOT_S) + 1, 1, min(len(times), _KNOTS)))
    windows = _windows(times, knots)
    values, vectors = np.linalg.eigh(standing.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    parts = []
    for start in range(0, knots, _WINDOWS):
        chosen = windows[start : start + _WINDOWS]
        terms = _terms(standing, rays, joints, bones, chosen, nu)
        moved = np.linalg.solve(terms.joints, terms.coupling @ root)[:, : 3 * joints.shape[1]]
        moved = moved.reshape(len(chosen), joints.shape[1], 3, -1)
        moved = np.einsum("sj,kjxn->ksxn", sources, moved)
        parts.append(moved @ moved.swapaxes(-1, -2))
    return interpolated(np.concatenate(parts), windows[:, windows.shape[1] // 2], len(times))


def _windows(times: FloatArray, count: int) -> IntArray:
    """(K, n) frames around K evenly spread ones; near the ends of the take frames repeat."""
    frames = len(times)
    centres = np.unique(np.round(np.linspace(0, frames - 1, count)).astype(int))
    step = float(np.median(np.diff(times))) if frames > 1 else 1.0
    reach = min(int(round(_WINDOW_S / 2 / step)), (frames - 1) // 2)
    offsets = np.unique(np.round(np.linspace(-reach, reach, _WINDOW_FRAMES)).astype(int))
    return np.clip(centres[:, None] + offsets, 0, frames - 1)


def _terms(
    standing: Standing, rays: PointRays, joints: FloatArray, bones: Bones, windows: IntArray, nu: float
) -> _Terms:
    views, count, edges = standing.shape
    knots, size = len(windows), len(standing.mean)
    tied = 3 * count
    matrix = np.zeros((knots, tied + 2 * views, tied + 2 * views))
    coupling, pull_joints = np.zeros((knots, tied + 2 * views, size)), np.zeros((knots, tied + 2 * views))
    own, pull = np.zeros((size, size)), np.zeros(size)
    poses = 2 * views * count
    joint, axes = np.arange(count), np.arange(3)
    places = 3 * joint[:, None] + axes
    for view in range(views):
        square, toward, shared = _view_terms(rays, view, joints, windows, nu)
        matrix[:, places[:, :, None], places[:, None]] += square[..., :3, :3]
        pull_joints[:, places] += toward[..., :3]
        shift = slice(tied + 2 * view, tied + 2 * view + 2)
        along = square[..., :3, 3:5].reshape(knots, tied, 2)
        matrix[:, :tied, shift], matrix[:, shift, :tied] = along, along.swapaxes(1, 2)
        matrix[:, shift, shift] = square[..., 3:5, 3:5].sum(axis=1) + np.eye(2) / shared
        pull_joints[:, shift] = toward[..., 3:5].sum(axis=1)
        first = 2 * (view * count + joint)
        camera = slice(poses + 6 * view, poses + 6 * view + 6)
        coupling[:, :tied, camera] = square[..., :3, 5:].reshape(knots, tied, 6)
        coupling[:, shift, camera] = square[..., 3:5, 5:].sum(axis=1)
        total, total_pull = square.sum(axis=0), toward.sum(axis=0)
        own[camera, camera] = total[:, 5:, 5:].sum(axis=0)
        pull[camera] = total_pull[:, 5:].sum(axis=0)
        for axis in (0, 1):
            coupling[:, places, (first + axis)[:, None]] = square[..., :3, 3 + axis]
            coupling[:, shift, first + axis] = square[..., 3:5, 3 + axis].swapaxes(1, 2)
            pull[first + axis] = total_pull[:, 3 + axis]
            own[first + axis, first] = total[:, 3 + axis, 3]
            own[first + axis, first + 1] = total[:, 3 + axis, 4]
            own[first + axis, camera] = total[:, 3 + axis, 5:]
            own[camera, first + axis] = total[:, 3 + axis, 5:].T
    matrix[:, places, places] += _RIDGE
    if edges and len(bones.rows):
        rows, off = _bone_rows(bones, joints[windows[:, windows.shape[1] // 2]])
        scaled = rows / bones.sigma[:, None] ** 2
        matrix[:, :tied, :tied] += rows.swapaxes(1, 2) @ scaled
        coupling[:, :tied, size - edges :] -= scaled.swapaxes(1, 2)
        pull_joints[:, :tied] -= (off[:, None] @ scaled)[:, 0]
        where = np.arange(size - edges, size)
        own[where, where] += knots / bones.sigma**2
        pull[where] += off.sum(axis=0) / bones.sigma**2
    return _Terms(matrix, coupling, own, pull_joints, pull)


def _bone_rows(bones: Bones, joints: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Derivative (K, B, 3J) of the bone lengths by the joints, and (K, B) how much longer they are than thought."""
    vectors = np.einsum("bj,tjx->tbx", bones.rows, joints)
    length = np.maximum(np.linalg.norm(vectors, axis=-1), 1e-6)
    rows = bones.rows[..., None] * (vectors / length[..., None])[:, :, None, :]
    return rows.reshape(len(joints), len(length[0]), -1), length - bones.lengths


def _view_terms(
    rays: PointRays, view: int, joints: FloatArray, windows: IntArray, nu: float
) -> tuple[FloatArray, FloatArray, float]:
    """One view on point, offset and camera, means of the windows: information (K, J, 11, 11), pull (K, J, 11).

    Third: the variance, normalised image coordinates², of shifts of the whole person that pass with time.
    """
    count = joints.shape[1]
    index = (windows.reshape(-1, 1) * count + np.arange(count)).ravel()
    part = rays.take(index).of_view(view)
    points = joints[windows].reshape(-1, 3).T
    error = whitened_residuals(part, points)[0]
    root = np.sqrt(np.where(part.uu[0] > 0, part.uu[0], 1.0))
    skew = part.uv[0] / root
    rest = np.sqrt(np.maximum(part.vv[0] - skew**2, 0))
    root = np.where(part.seen[0], root, 0.0)
    by_u, by_v = camera_slopes(part, 0, points)
    zero = np.zeros_like(rest)
    by_offset = np.stack([np.stack([root, skew]), np.stack([zero, rest])])
    by_camera = np.stack([root * by_u + skew * by_v, rest * by_v])  # (2, 6, N)
    slope = np.concatenate([np.moveaxis(whitened_slope(part, 0, points), 0, 2), by_offset, by_camera], axis=1)
    slope = np.moveaxis(slope, 2, 0)  # (N, 2, 11)
    weight = robust_weight((error**2).sum(axis=-1), nu) * part.seen[0]
    heavy = (slope * weight[:, None, None]).swapaxes(1, 2)
    shape = (len(windows), windows.shape[1], count)
    square = _curvature_share(nu) * (heavy @ slope).reshape(*shape, 11, 11).mean(axis=1)
    toward = (heavy @ error[..., None])[..., 0].reshape(*shape, 11).mean(axis=1)
    good = part.seen[0] & ((error**2).sum(axis=-1) < _WILD)
    unit = float(np.median(1 / root[good] ** 2)) if good.any() else 1.0
    return square, toward, unit * _shared(error.reshape(-1, count, 2), good.reshape(-1, count))


def _shared(error: FloatArray, good: BoolArray) -> float:
    """Correlation between the errors of different joints of a view in the same frame (T, J, 2), about their means.

    A detector that misplaces the whole person for a while shifts all joints alike; they count as fewer then.
    """
    frames = np.maximum(good.sum(axis=0), 1)
    rest = np.where(good[..., None], error - (error * good[..., None]).sum(axis=0) / frames[:, None], 0.0)
    count = good.sum(axis=1)
    own = (rest**2).sum(axis=(1, 2))
    pairs = count * (count - 1)
    if not pairs.any() or not own.any():
        return _LEAST_SHARED
    together = ((rest.sum(axis=1) ** 2).sum(axis=-1) - own).sum() / pairs.sum()
    return max(float(together / (own.sum() / count.sum())), _LEAST_SHARED)


def _curvature_share(nu: float) -> float:
    """Expected curvature of the t likelihood over its mean weight, on Gaussian cores in two dimensions."""
    if np.isinf(nu):
        return 1.0
    density = lambda d: 0.5 * np.exp(-d / 2)  # noqa: E731  of chi² with two degrees of freedom
    mean = quad(lambda d: (nu + 2) / (nu + d) * density(d), 0, np.inf)[0]
    slope = quad(lambda d: (nu + 2) * nu / (nu + d) ** 2 * density(d), 0, np.inf)[0]
    return slope / mean


def _posterior(standing: Standing, information: FloatArray, pull: FloatArray) -> Standing:
    """Sizes by marginal likelihood, then mean and covariance of b."""
    basis, family = standing.basis, standing.family
    matrix, right = basis.T @ information @ basis, basis.T @ pull
    offsets, turns = standing.sizes
    sized = [_evidence(matrix, right, _scale(family, size, turns))[0] for size in _SIZES]
    offsets = _lowest(_SIZES, np.array(sized))
    costs = np.zeros(len(_TURNS))
    if (family == 1).any():
        costs = np.array([_evidence(matrix, right, _scale(family, offsets, turn))[0] for turn in _TURNS])
        costs += np.log1p((_TURNS / USUAL_TURN) ** 2)
        turns = _lowest(_TURNS, costs)
    candidates = [(1.0, turns)]
    if (family == 1).any():
        share = np.exp(-(costs - costs.min()))
        candidates = [(p, turn) for p, turn in zip(share / share.sum(), _TURNS, strict=True) if p > 1e-3]
    means, covariances = [], []
    for _, turn in candidates:
        scale = _scale(family, offsets, turn)
        _, factor = _evidence(matrix, right, scale)
        means.append(scale * cho_solve((factor, True), scale * right))
        covariances.append(scale[:, None] * cho_solve((factor, True), np.diag(scale)))
    shares = np.array([p for p, _ in candidates])
    shares /= shares.sum()
    mean = shares @ np.array(means)
    spread = np.array(means) - mean
    covariance = np.einsum("k,kij->ij", shares, np.array(covariances)) + (shares * spread.T) @ spread
    return replace(
        standing,
        mean=basis @ mean,
        covariance=basis @ covariance @ basis.T,
        sizes=(offsets, turns),
    )


def _scale(family: IntArray, offsets: float, turns: float) -> FloatArray:
    return np.array([offsets, turns, 1.0])[family]


def _lowest(grid: FloatArray, cost: FloatArray) -> float:
    """The grid's best value, refined by a parabola in the logarithm."""
    best = int(cost.argmin())
    if best in (0, len(grid) - 1):
        return float(grid[best])
    below, middle, above = cost[best - 1 : best + 2]
    shift = 0.5 * (below - above) / max(below - 2 * middle + above, 1e-9)
    return float(grid[best] * (grid[best + 1] / grid[best]) ** np.clip(shift, -1, 1))


def _evidence(matrix: FloatArray, right: FloatArray, scale: FloatArray) -> tuple[float, FloatArray]:
    """-log marginal likelihood of a prior N(0, scale²) up to a constant, and the factor of I + s Λ s."""
    inner = scale[:, None] * matrix * scale
    inner[np.diag_indices_from(inner)] += 1.0
    try:
        factor = cholesky(inner, lower=True, check_finite=False)
    except LinAlgError:  # rounding made the information slightly indefinite
        inner[np.diag_indices_from(inner)] += 1e-9 * np.trace(inner)
        factor = cholesky(inner, lower=True, check_finite=False)
    scaled = scale * right
    fit = scaled @ cho_solve((factor, True), scaled)
    return float(np.log(np.diag(factor)).sum() - 0.5 * fit), factor
