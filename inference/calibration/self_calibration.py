"""Cameras from nothing but moving people: pairs of views, one chain, bundle adjustment, a world, a covariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from ..config import AssociationSettings, TriangulationSettings
from ..errors import DegenerateError
from ..geometry.association import choose_people
from ..geometry.keypoint_noise import truncated_scale
from ..geometry.triangulation import triangulate
from ..shapes import FloatArray
from ..types import Camera, CameraRig, Intrinsics, Keypoints2D, Keypoints3D
from .bundle_adjustment import Bundle, BundleModel, BundleResult, adjust_bundle
from .chain import Pair, chained_poses, noise_over_stated, paired_poses, roots
from .degeneracy import check_certainty, check_motion, check_pair_motion, check_spread
from .focal_lengths import check_lenses, unshown, zoomed_lens
from .gauge import TYPICAL_HEIGHT_M, gauge_covariance, stature, world_from_person
from .observations import Observations, gather_observations
from .odd_views import check_residuals, unexplained
from .relative_pose import MEDIAN_OF_ONE, RelativePose
from .scale import KnownLengths, Scale, metric_scale
from .tracks import main_tracks

_MOST_MOMENTS = 300
_FEW_MOMENTS = 80  # that starts are compared on
_STARTS = 3
_LEAST_NOISE = 0.2  # of what the keypoints state
_GOOD_START = 2.0  # median squared residual, in stated sigmas, that needs no other start (of pure noise: 0.9)
_OVERCONFIDENT = 2.0  # errors over stated ones, from which on thresholds in stated sigmas may be what fails
_ITERATIONS = 25
_ROUGH = 1e-4  # relative fall of the cost at which noise and bones are measured
_CUT = 9.0  # squared sigmas beyond which a residual is wild and says nothing about the noise
_MEDIAN_OF_TWO = 1.386  # median of chi² with two degrees of freedom
_FEWEST_LENGTHS = 30
_OFTEN = 20  # times that a view must show a joint to say something of its standing offset
_LAGS = 20  # moments over which errors may remember
_FAINT = 0.02  # correlations below this are chance


@dataclass(frozen=True, eq=False)
class SelfCalibration:
    """The rig, and what is to be told about it."""

    rig: CameraRig
    facts: dict[str, object]
    warnings: list[str]
    shift: FloatArray  # (V,) s by which the clocks of the views named should be moved


@threadpool_limits.wrap(limits=1)  # many small systems: threads only wait there, and ten times as long
def calibrate_from_person(
    lenses: Sequence[Intrinsics],
    tracks: Sequence[Keypoints2D],
    persons: int = 1,
    height_m: float | None = None,
    association: AssociationSettings | None = None,
    known: KnownLengths | None = None,
    clocks: Sequence[int] = (),
) -> SelfCalibration:
    """Solve the poses of all cameras from the joints of people who move.

    Pairwise poses on the best common track, chained, adjusted; then everybody wanted is recognised in all views by
    these cameras, and all of them are adjusted together under Student-t noise with standing offsets per view and
    joint and bones of constant length, whose sizes are measured on the way.

    Convention:
        world: z up, floor at 0, +y where the first view looks, origin under the person; metres by the stature.
        Covariance: the first camera, and its distance to the farthest one, are held.

    Args:
        lenses: of the views, in order; taken as exact but for their focal lengths where ``known`` says so.
        tracks: keypoints of the views on common times and joints, slots are tracks.
        persons: how many people are used once the cameras are roughly known; 0: everyone.
        height_m: stature of the first person; None: a typical one, with a warning.
        association: settings for recognising people across views.
        known: measured lengths that give the scale in place of the stature; how well focal lengths are known.
        clocks: views whose clocks are unknowns too; they must be right to about a frame.

    Returns:
        The rig with covariance, facts for the report, warnings.

    Raises:
        DegenerateError: the motion does not determine the cameras; the message says why and what to do.
        InputError: focal lengths are asked for of lenses that have more than one.
    """
    known = known or KnownLengths()
    if known.focal_sigma:
        check_lenses(lenses)
    single = gather_observations(lenses, main_tracks(lenses, tracks), _MOST_MOMENTS)
    check_motion(single)
    start = _checked_start(single)
    rig = rig_with_poses(lenses, start.R, start.t)
    settings = association or AssociationSettings()
    people = choose_people(rig, tracks, persons, settings)
    observations = gather_observations(lenses, people, _MOST_MOMENTS, clocks)
    plain = BundleModel(offset_sigma_px=0, iterations=_ITERATIONS, clocks=tuple(clocks), focal_sigma=known.focal_sigma)
    begun = start_bundle(observations, start.R, start.t)
    result, model, held = _adjusted(observations, begun, plain)
    if unexplained(observations, result):  # slower, but less stiff far from the answer
        result, model, held = _adjusted(observations, begun, replace(plain, hold_gauge=False))
    check_spread(result.bundle.points)
    odd = check_residuals(observations, result)
    centres = {lens.name: -R.T @ t for lens, R, t in zip(lenses, result.bundle.R, result.bundle.t, strict=True)}
    scale = metric_scale(result.bundle.points, observations.joint_names, centres, height_m, known)
    inflation = estimator_variance(result.squared, model, held)
    solved = _in_world(lenses, observations, result, (model, inflation), scale)
    return replace(solved, warnings=[*solved.warnings, *odd])


def _checked_start(observations: Observations) -> Bundle:
    """Chain all cameras; where that fails and errors are much larger than stated, once more with their true size.

    Thresholds are in stated sigmas: those of a detector that is too sure of itself would leave hardly a joint.

    Raises:
        DegenerateError: the cameras cannot be chained, or the motion is planar.
    """
    try:
        start, noise = _best_start(observations, paired_poses(observations))
    except DegenerateError:
        excess = noise_over_stated(observations)
        if excess < _OVERCONFIDENT:
            raise
        observations = replace(observations, weight=observations.weight / excess)
        check_pair_motion(observations)
        start, noise = _best_start(observations, paired_poses(observations))
    check_pair_motion(observations, noise)
    return start


def _best_start(observations: Observations, pairs: Mapping[Pair, RelativePose]) -> tuple[Bundle, float]:
    """Chain from several roots; the one that explains a few moments best, in metres of a typical person.

    Also says how large errors are over what the keypoints state, at most 1.
    """
    moments = np.linspace(0, observations.weight.shape[1] - 1, _FEW_MOMENTS).round().astype(int)
    few = observations.subset(np.unique(moments))
    best: tuple[float, BundleResult] | None = None
    problem: DegenerateError | None = None
    for root in roots(pairs)[:_STARTS]:
        try:
            R, t = chained_poses(observations, pairs, root)
            bundle = start_bundle(few, R, typical_scale(few, R, t) * t)
        except DegenerateError as found:
            problem = found
            continue
        result = adjust_bundle(few, bundle, BundleModel(offset_sigma_px=0, iterations=12, hold_gauge=False))
        unused = np.isnan(result.squared[few.seen]).sum()
        cost = result.cost + 6.0 * float(unused)
        if best is None or cost < best[0]:
            best = (cost, result)
        if np.nanmedian(result.squared) < _GOOD_START and unused < 0.2 * few.seen.sum():
            break
    if best is None:
        raise problem or DegenerateError(
            "the cameras cannot be chained; let the person walk where all cameras see them"
        )
    noise = float(np.sqrt(np.nanmedian(best[1].squared) / _MEDIAN_OF_TWO))
    bundle = best[1].bundle  # whose world has shrunk: the smaller it is, the less its bones disagree
    scale = TYPICAL_HEIGHT_M / stature(bundle.points, observations.joint_names)
    return replace(bundle, t=scale * bundle.t, points=scale * bundle.points), float(np.clip(noise, _LEAST_NOISE, 1.0))


def typical_scale(observations: Observations, R: FloatArray, t: FloatArray) -> float:
    """Metres per unit if the person is of typical height."""
    baseline = np.linalg.norm(t - t[:1], axis=-1).max() or 1.0
    scale = 4.0 / max(baseline, 1e-6)  # triangulation wants a world of about a room's size
    for _ in range(2):
        bundle = start_bundle(observations, R, scale * t)
        scale *= TYPICAL_HEIGHT_M / stature(bundle.points, observations.joint_names)
    return scale


def start_bundle(observations: Observations, R: FloatArray, t: FloatArray) -> Bundle:
    """Triangulate every joint robustly and take the bones' median lengths."""
    points = np.array(_triangulated(observations, R, t).xyz[:, 0])
    first, second = observations.bones.T
    lengths = np.linalg.norm(points[:, second] - points[:, first], axis=-1)
    known = np.isfinite(lengths).any(axis=0)
    median = np.zeros(lengths.shape[1])
    median[known] = np.nanmedian(lengths[:, known], axis=0)
    views, _, joints = observations.weight.shape
    return Bundle(R, t, points, np.zeros((views, joints, 2)), median, np.zeros(views), np.zeros(views))


def _triangulated(observations: Observations, R: FloatArray, t: FloatArray) -> Keypoints3D:
    keypoints, cameras = [], []
    times = np.arange(observations.weight.shape[1], dtype=float)
    for v, name in enumerate(observations.views):
        focal = observations.focal_px[v]
        cameras.append(Camera(Intrinsics(name, (1, 1), np.diag([focal, focal, 1.0]), np.zeros(0), "none"), R[v], t[v]))
        seen = observations.seen[v][:, None]
        xy = np.where(seen[..., None], focal * observations.rays[v][:, None], np.nan)
        variance = np.where(seen, 1 / np.maximum(observations.weight[v][:, None], 1e-9) ** 2, np.nan)
        keypoints.append(
            Keypoints2D(name, observations.joint_names, times, xy, variance[..., None, None] * np.eye(2), seen * 1.0)
        )
    rig = CameraRig(tuple(cameras), np.zeros((6 * len(cameras), 6 * len(cameras))))
    return triangulate(rig, keypoints, TriangulationSettings(max_sigma_m=1.0))


def bone_wander(observations: Observations, R: FloatArray, t: FloatArray) -> tuple[FloatArray, float]:
    """(B,) sigmas of the bones' lengths beyond what the noise of their triangulated ends explains, m.

    Detected joints are not points of a rigid skeleton; how far they stray depends on bone and detector. The sigma is
    the one that makes the median deviation from the median length what it is for a Gaussian. Also returns how many of
    the numbers that place the joints are known by bones: one a length, where bones are much firmer than the noise.
    """
    joints = _triangulated(observations, R, t)
    first, second = observations.bones.T
    along = joints.xyz[:, 0, second] - joints.xyz[:, 0, first]
    length = np.linalg.norm(along, axis=-1)
    both = joints.covariance[:, 0, first] + joints.covariance[:, 0, second]
    noise = np.einsum("fba,fbac,fbc->fb", along, both, along) / length**2
    sigma, held = np.full(len(first), BundleModel.bone_sigma_m), 0.0
    for bone, (lengths, variance) in enumerate(zip(length.T, noise.T, strict=True)):  # a dozen bones
        good = np.isfinite(variance)
        if good.sum() >= _FEWEST_LENGTHS:
            sigma[bone] = _excess_sigma(np.abs(lengths[good] - np.median(lengths[good])), variance[good])
            held += float((variance[good] / (variance[good] + sigma[bone] ** 2)).sum())
    return sigma, held


def _excess_sigma(off: FloatArray, variance: FloatArray) -> float:
    """Sigma to be added to the variances to explain the median of the deviations; at least what chance hides."""
    low, high = 0.0, float(off.max())
    for _ in range(30):
        middle = (low + high) / 2
        if np.median(off / np.sqrt(variance + middle**2)) > MEDIAN_OF_ONE:
            low = middle
        else:
            high = middle
    hidden = np.sqrt(np.median(variance) / np.sqrt(len(off)))
    return float(max(low, hidden))


def _adjusted(observations: Observations, start: Bundle, model: BundleModel) -> tuple[BundleResult, BundleModel, float]:
    """Adjust in rounds; between them the sizes of noise, standing offsets and bones' wander are measured.

    Also returns how many of the numbers that place the joints are known by the bones.
    """
    result = adjust_bundle(observations, start, replace(model, tolerance=_ROUGH))
    sigma, held = bone_wander(observations, result.bundle.R, result.bundle.t)
    model = replace(measured_model(result, model), bone_sigma_m=sigma)
    if model.offset_sigma_px:
        for _ in range(2):  # offsets that are fitted let the noise shrink
            result = adjust_bundle(observations, result.bundle, replace(model, iterations=5))
            model = measured_model(result, model)
    return adjust_bundle(observations, result.bundle, model), model, held


def measured_model(result: BundleResult, model: BundleModel) -> BundleModel:
    """Measure the scale of the noise, and what of it stands still per view and joint."""
    used = np.isfinite(result.squared)
    views = used.sum(axis=0)
    freedom = float(2 - 3 * (views > 0).sum() / max(used.sum(), 1))  # a joint's place takes three of its 2V numbers
    scale = truncated_scale(result.squared[used], np.full(int(used.sum()), freedom))
    memory = memory_of(result.error_px)
    standing = _standing(result, scale, freedom, memory)
    if standing and model.offset_sigma_px:  # they are in the model, which knows what it could not see of them
        often = used.sum(axis=1) > _OFTEN
        known = (result.bundle.offsets**2).mean(axis=-1) + result.offset_variance
        standing = float(np.sqrt(known[often].mean()))
    return replace(
        model,
        noise_scale=model.noise_scale * float(np.sqrt(scale)),
        offset_sigma_px=standing,
        lasting=(1 + memory) / (1 - memory),
    )


def _standing(result: BundleResult, scale: float, freedom: float, memory: float) -> float:
    """Sigma of standing offsets, px; 0 where the mean residuals are as small as noise makes them."""
    usual = result.squared < _CUT * scale
    count = usual.sum(axis=1)
    often = count > _OFTEN
    if not often.any():
        return 0.0
    error = np.where(usual[..., None], result.error_px - result.bundle.offsets[:, None], 0.0)
    mean = error.sum(axis=1) / np.maximum(count, 1)[..., None]
    spread = (error**2).sum(axis=(1, 3)) / np.maximum(count, 1) - (mean**2).sum(axis=-1)
    chance = spread / np.maximum(count, 1) * (1 + memory) / (1 - memory)
    excess = (mean**2).sum(axis=-1)[often] - chance[often]
    if excess.mean() < 2 * chance[often].mean() / np.sqrt(often.sum()):
        return 0.0
    # what the fit of the joints takes out of the noise it takes out of the means too
    return float(np.sqrt(np.median(np.maximum(excess, 0)) / _MEDIAN_OF_TWO / (freedom / 2)))


def memory_of(error_px: FloatArray) -> float:
    """Memory of residuals: that of the first-order process whose mean is as unsure as theirs.

    The variance of a mean over that of as many independent errors is one plus twice the sum of all correlations; they
    are summed as they are, since part of the residuals forgets at once, and persons may take turns. Correlations about
    a fitted mean are low by its own variance (Bartlett 1946), which is put back.

    Args:
        error_px: (V, F, J, 2) of moments in order, NaN where not seen; what stands still in them is taken out.

    Returns:
        Correlation from one moment to the next, 0 to 0.95; ``(1 + m) / (1 - m)`` is the factor on variances.
    """
    moments, lasts, found = error_px.shape[1], 1.0, []
    size = (error_px**2).sum(axis=-1)
    seen = np.isfinite(size)
    usual = seen & (size < _CUT * np.median(size[seen])) if seen.any() else seen
    mean = np.where(usual[..., None], error_px, 0.0).sum(axis=1) / np.maximum(usual.sum(axis=1), 1)[..., None]
    error = np.where(usual[..., None], error_px - mean[:, None], 0.0)
    size = (error**2).sum(axis=-1)
    for lag in range(1, min(_LAGS, moments // 3) + 1):
        both = usual[:, :-lag] & usual[:, lag:]
        if both.sum() < 50:
            break
        squares = (size[:, :-lag] + size[:, lag:])[both].sum()
        found.append(2 * np.vdot(error[:, :-lag], error[:, lag:]) / squares)
    correlation = np.array(found)
    for _ in range(3):
        mean = lasts / moments  # variance of a fitted mean over that of an error
        put_back = correlation * (1 - mean) + mean
        lasts = 1 + 2 * float(put_back[put_back > _FAINT].sum())
    return float(np.clip((lasts - 1) / (lasts + 1), 0, 0.95))


def estimator_variance(
    squared: FloatArray,  # (V, F, J) squared residuals in sigmas, NaN where not used
    model: BundleModel,
    held: float = 0.0,
) -> float:
    """Variance of the t estimator over the inverse of its weighted information, measured on the residuals.

    ``K² [sum psi² / (n - p)] E[w] / E[psi']²`` with ``K = 1 + p/n var(psi') / E[psi']²`` (Huber 1981, section 7.6), the
    joints' places being most of the p unknowns, less what the bones hold; two axes share a weight, so psi' is half the
    trace.
    """
    used = np.isfinite(squared)
    s, nu = squared[used], model.degrees_of_freedom
    numbers = 2 * len(s)
    unknowns = 3 * (used.any(axis=0)).sum() - held
    weight, slope = (nu + 2) / (nu + s), (nu + 2) * nu / (nu + s) ** 2
    leverage = 1 + unknowns / numbers * slope.var() / slope.mean() ** 2
    return float(leverage**2 * (weight**2 * s).sum() / (numbers - unknowns) * weight.mean() / slope.mean() ** 2)


def _in_world(
    lenses: Sequence[Intrinsics],
    observations: Observations,
    result: BundleResult,
    noise: tuple[BundleModel, float],
    scale: Scale,
) -> SelfCalibration:
    names, bundle, (model, inflation) = observations.joint_names, result.bundle, noise
    warnings = [scale.warning] if scale.warning else []
    world = world_from_person(bundle.points, names, bundle.R[0], scale.factor)
    R, t = world.poses(bundle.R, bundle.t)
    final = replace(
        model, lasting=inflation * model.lasting, bone_sigma_m=model.bone_sigma_m * scale.factor, iterations=0
    )
    points, lengths = world.points(bundle.points), scale.factor * bundle.lengths
    moved = replace(bundle, R=R, t=t, points=points, lengths=lengths)
    ended = adjust_bundle(observations, moved, final)
    covariance = gauge_covariance(ended.information, R, t)
    rotation_sigma = np.degrees(np.sqrt(np.diag(covariance).reshape(-1, 6)[:, :3].sum(axis=1)))
    check_certainty(rotation_sigma, observations.views)
    gauge = (
        f"solved from the person: the pose of {lenses[0].name} and its distance to the farthest camera are held; scale "
        f"from {scale.source}, vertical from "
        f"{world.vertical}, +y where {lenses[0].name} looks, "
        + (f"focal lengths given to {model.focal_sigma:.1%}" if model.focal_sigma else "lenses taken as exact")
    )
    if not world.walked:
        warnings.append(
            "the feet do not show the floor (the person walks too little), so up is the mean direction of the body and "
            "may be some degrees off; let the person walk about"
        )
    zoomed = [zoomed_lens(lens, zoom) if zoom else lens for lens, zoom in zip(lenses, bundle.zoom, strict=True)]
    rig = replace(rig_with_poses(zoomed, R, t), covariance=covariance, gauge=gauge)
    zoom_sigma = ended.zoom_sigma
    warnings += unshown(observations.views, zoom_sigma, model.focal_sigma)
    error = np.linalg.norm(result.error_px, axis=-1)
    facts: dict[str, object] = {
        "moments": int(observations.weight.shape[1]),
        "median_error_px": {n: float(np.nanmedian(error[v])) for v, n in enumerate(observations.views)},
        "rotation_sigma_deg": dict(zip(observations.views, rotation_sigma.tolist(), strict=True)),
        "noise_over_stated": model.noise_scale,
        "standing_offset_px": model.offset_sigma_px,
        "noise_memory": (model.lasting - 1) / (model.lasting + 1),
        "vertical": world.vertical,
    }
    if model.focal_sigma:
        facts["focal_over_given"] = dict(zip(observations.views, np.exp(bundle.zoom).tolist(), strict=True))
        facts["focal_sigma"] = dict(zip(observations.views, zoom_sigma.tolist(), strict=True))
    return SelfCalibration(rig, facts, warnings, bundle.shift)


def rig_with_poses(lenses: Sequence[Intrinsics], R: FloatArray, t: FloatArray) -> CameraRig:
    """Return the rig of these poses, taken as exact for now."""
    # products of many small turns are orthonormal again after a polar decomposition
    U, _, Vt = np.linalg.svd(R)
    cameras = tuple(Camera(lens, turn, move) for lens, turn, move in zip(lenses, U @ Vt, t, strict=True))
    return CameraRig(cameras, np.zeros((6 * len(cameras), 6 * len(cameras))))
