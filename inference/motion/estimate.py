"""The whole sequence as one estimate: from keypoints of all views to joints with honest ellipsoids, and a skeleton.

Per person: robustly smoothed single-frame points as a start; a few Gauss-Newton steps on reprojection, smoothness and
bone lengths (`posterior`), with limbs exchanged back where a detector mixed up left and right (`swaps`) and standing
errors per camera and joint taken off as far as they show; errors with memory stand as larger white ones
(`white_surrogate`); bones are held as tightly as they prove rigid; covariance from the last step plus what standing
errors and cameras leave; finally constant bone lengths and rotations (`kinematics`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..config import MotionSettings
from ..errors import DegenerateError, InputError
from ..geometry.epipolar import focal_length
from ..geometry.keypoint_noise import KeypointNoise
from ..geometry.reprojection import Rays, rays_from_keypoints
from ..geometry.triangulation import curvature_factor, keypoint_noise
from ..shapes import BoolArray, FloatArray, IntArray
from ..types import CameraRig, Flag, Keypoints2D, Keypoints3D, Skeleton, SkeletonMotion, SolveReport
from . import bones, kinematics
from .bridging import bridge_factors, bridged_covariance
from .flags import solved_flags
from .limits import within_limits
from .planting import PathErrors, Planted, plant, slides
from .posterior import Problem, steps
from .reading import Reading, Scaled, block_distances
from .rotation_covariance import rotation_covariance
from .skeleton import anatomical, build_skeleton, joint_sources, mirrored_bones, rest_lengths
from .smoothing import MEMORYLESS, interpolate, smooth_paths, white_surrogate
from .splines import choose_knots, response_time
from .standing import Bones, Standing, camera_shifts, corrected, joint_covariance, no_standing, shift_words, update
from .swaps import LimbFact, exchanged_joints, exchanged_limbs, limb_facts, stray_limbs

_FREE_M = 10.0  # bone sigma of the first step, which measures the bones
_BONE_SIGMAS_M = (0.0, 0.0)  # of the steps after it, at least the setting
_CHANGES_S = 0.05  # in which the covariance of a bone's rotation changes little
_CHANCE = 1.5  # how much larger than expected the variance of a rigid bone's length may look
_WILD = 64.0  # squared sigmas from which a keypoint does not show its joint
_TORN_M, _MENDS = 0.02, 2  # a bone that misses its length by more, beyond its sigma, is mended; steps at most
_UNLIKE_M = 0.05  # a joint farther from its place on the rigid skeleton is not given
_SHIFTED_PX, _SURELY = 5.0, 3.0  # a camera that moves the person by more, in pixels and in sigmas, is told
_KNOTS = 1.8  # spacing of the splines' knots over the response time of the quickest joint


@dataclass(frozen=True, eq=False)
class _Person:
    """What is handed from step to step; joints J are those of the layout that were ever triangulated."""

    rays: Rays  # as detected, limbs not exchanged
    noise: KeypointNoise  # of the rest
    standing: Standing
    names: tuple[str, ...]
    sources: FloatArray  # (skeleton joints, J), zero rows where a source was never triangulated
    measured: BoolArray  # (T, J) whether a single-frame point stands here
    bone_numbers: IntArray  # (B,) bones of the skeleton that the problem knows
    problem: Problem
    joints: FloatArray  # (T, J, 3) m
    honesty: FloatArray  # (J,) factor on the variance that the problem claims
    variance: FloatArray  # (J,) m², of a joint's smoothed path per axis, as it is to be expected
    looseness: FloatArray  # (B,) m, by which bones change their length
    mirror: IntArray  # (B,) the problem's bone on the other side of the body, or the bone itself


def estimate_motion(
    raw: Keypoints3D,
    rig: CameraRig,
    views: Sequence[Keypoints2D],
    settings: MotionSettings,
    report: SolveReport | None = None,
) -> tuple[Keypoints3D, SkeletonMotion]:
    """Estimate joints and skeleton motion of every person from the whole take.

    Convention:
        joints of the result are the skeleton's: the layout's and the derived ones, root first. ``xyz`` is the forward
        kinematics of the motion. Gaps are bridged while the largest sigma is at most ``max_sigma_m``, flagged WEAK;
        beyond it a joint is NaN (UNOBSERVED), and the motion holds or interpolates its bone. Joints that were never
        triangulated stay NaN, and so does what hangs on them (an ankle without its knee) where it does not fit a rigid
        bone. The covariance is Gaussian (degrees of freedom inf).

    Args:
        raw: single-frame joints of the same people, as `triangulate` gives them.
        rig: cameras in the order of the views.
        views: keypoints on the times of ``raw``.
        settings: the stage's settings.
        report: told which limbs were exchanged and which views disagree on them, and how resting feet slid.

    Returns:
        Joints and motion.

    Raises:
        InputError: times do not increase.
        DegenerateError: a person has no single joint in any frame.
    """
    if (np.diff(raw.timestamps_s) <= 0).any():
        frame = int((np.diff(raw.timestamps_s) <= 0).argmax()) + 1
        raise InputError(f"frame {frame}: its time is not later than that of the frame before; repair the timestamps")
    raw = _in_layout(raw, views[0].joint_names)
    skeleton = build_skeleton(raw.joint_names, raw.observed.mean(axis=(0, 1)))
    people = []
    for p in range(raw.xyz.shape[1]):
        views_of = [_slot(view, p) for view in views]
        parts, told = _one_person(_person(raw, p), rig, views_of, settings, skeleton)
        people.append(parts)
        if report is not None:
            _tell(report, p, rig, told, settings)
    return _together(people, skeleton, raw.timestamps_s)


@dataclass(frozen=True, eq=False)
class _Told:
    """What the report says of one person's solve."""

    limbs: list[LimbFact]
    feet: list[dict[str, Any]]
    cameras: tuple[FloatArray, FloatArray]  # as `camera_shifts`


def _tell(report: SolveReport, person: int, rig: CameraRig, told: _Told, settings: MotionSettings) -> None:
    limbs = [{"person": person, "view": rig.names[fact.view]} | fact.shares() for fact in told.limbs]
    report.facts["limbs"] = report.facts.get("limbs", []) + limbs
    if settings.contacts in ("soft", "locked"):
        feet = [{"person": person} | foot for foot in told.feet]
        report.facts["planted"] = report.facts.get("planted", []) + feet
    focal = [focal_length(camera) for camera in rig.cameras]
    for name, scale, shift, sigma in zip(rig.names, focal, *told.cameras, strict=True):
        fact = {"person": person, "view": name, "shift_px": shift * scale, "sigma_px": sigma * scale}
        report.facts["camera_shifts"] = [*report.facts.get("camera_shifts", []), fact]
        if fact["shift_px"] > max(_SHIFTED_PX, _SURELY * fact["sigma_px"]):
            report.warn(shift_words(name, fact["shift_px"], fact["sigma_px"], name in rig.moving))


def _together(
    people: list[deque[FloatArray | IntArray]], skeleton: Skeleton, times: FloatArray
) -> tuple[Keypoints3D, SkeletonMotion]:
    if not people:
        raise DegenerateError("there is nobody to solve: no person was found")
    stacked = []
    for _ in range(len(people[0])):  # each person's array goes as soon as it stands beside the others'
        parts = [person.popleft() for person in people]
        stacked.append(np.stack(parts, axis=0 if parts[0].ndim == 1 else 1))
        stacked[-1].flags.writeable = False  # nobody else holds it: it need not be copied
    xyz, covariance, flag, reason, root, root_rotation, local, lengths, turning = stacked
    solved = Keypoints3D(skeleton.joint_names, times, xyz, covariance, flag, reason=reason)
    return solved, SkeletonMotion(skeleton, times, root, root_rotation, local, lengths, turning)


def _in_layout(raw: Keypoints3D, names: tuple[str, ...]) -> Keypoints3D:
    if raw.joint_names == names:
        return raw
    index = [raw.joint_names.index(name) for name in names]
    parts = (raw.xyz[:, :, index], raw.covariance[:, :, index], raw.flag[:, :, index])
    return Keypoints3D(names, raw.timestamps_s, *parts, raw.degrees_of_freedom, raw.reason[:, :, index])


def _person(raw: Keypoints3D, index: int) -> Keypoints3D:
    part = slice(index, index + 1)
    kept = {name: getattr(raw, name)[:, part] for name in ("xyz", "covariance", "flag", "reason")}
    return replace(raw, **kept)


def _slot(view: Keypoints2D, index: int) -> Keypoints2D:
    part = slice(index, index + 1)
    return replace(view, xy=view.xy[:, part], covariance=view.covariance[:, part], score=view.score[:, part])


@dataclass(frozen=True, eq=False)
class _Posterior:
    """What the whole take says of one person, before the joints are made a rigid skeleton; S joints of the skeleton."""

    joints: Keypoints3D  # of the skeleton; NaN where they are not sure
    xyz: FloatArray  # (T, S, 3) m, sure or not
    errors: PathErrors
    lengths: FloatArray  # (B,) m, of all bones
    bony: BoolArray  # (B,) whose length was measured
    names: tuple[str, ...]  # of the layout's joints J that were ever triangulated
    sources: FloatArray  # (S, J)
    views: IntArray  # (T, J) how many show it
    limbs: list[LimbFact]
    cameras: tuple[FloatArray, FloatArray]  # as `camera_shifts`


def _one_person(
    raw: Keypoints3D, rig: CameraRig, views: Sequence[Keypoints2D], settings: MotionSettings, skeleton: Skeleton
) -> tuple[deque[FloatArray | IntArray], _Told]:
    """Arrays of one person, as `_together` takes them, and what is to be told."""
    found = _posterior(raw, rig, views, settings, skeleton)
    feet = _planted(found.joints, skeleton, rig, settings, found.errors)
    rigid = kinematics.nearest_rigid(skeleton, feet.xyz, feet.stiff, found.lengths, found.bony)
    sure = found.joints.observed[:, 0]
    off = rigid - np.where(sure[..., None], feet.xyz, found.xyz)
    near = ~(np.linalg.norm(off, axis=-1) > _UNLIKE_M)
    where = [raw.joint_names.index(name) for name in found.names]
    single = raw.flag[:, 0, where], raw.reason[:, 0, where]
    flags = solved_flags(single, found.views, found.sources, sure, near)
    sure = sure & near
    covariance = np.where(sure[..., None, None], feet.covariance, np.nan)
    covariance += off[..., :, None] * off[..., None, :]  # to make the skeleton rigid: off by as much, in part
    slid = slides(feet.rests, skeleton.joint_names, raw.timestamps_s, found.xyz, rigid)
    told, sources = _Told(found.limbs, slid, found.cameras), found.sources
    lengths = found.lengths
    del found, feet, off
    root, local = kinematics.bone_rotations(skeleton, rigid, raw.timestamps_s)
    every = max(int(_CHANGES_S / _step(raw.timestamps_s)), 1)
    turning = rotation_covariance(skeleton, rigid, root, local, covariance, sources, every)
    xyz = np.where(sure[..., None], rigid, np.nan)
    return deque((xyz, covariance, *flags, rigid[:, 0].copy(), root, local, lengths, turning)), told


def _posterior(
    raw: Keypoints3D, rig: CameraRig, views: Sequence[Keypoints2D], settings: MotionSettings, skeleton: Skeleton
) -> _Posterior:
    """The estimate over the whole take, and what it tells of views and cameras."""
    person = _start(raw, rig, views, settings, skeleton)
    person = _improved(person, _FREE_M)
    person = replace(person, looseness=_looseness(person))
    person = replace(person, problem=replace(person.problem, lengths=_measured_lengths(person)[0]))
    for sigma in _BONE_SIGMAS_M:
        person = _settled(_improved(person, max(sigma, settings.bone_sigma_m)))
    person = replace(person, problem=replace(person.problem, rays=_observed(person)))
    joints, covariance, changing = _with_covariance(person)
    known = person.sources.any(axis=1)
    covariance[:, ~known] = np.eye(3)
    sure = known & (np.linalg.eigvalsh(covariance)[..., 2] <= settings.max_sigma_m**2)
    lengths = _all_lengths(person, skeleton)
    xyz = person.sources @ joints
    return _Posterior(
        joints=_of_one(skeleton, raw.timestamps_s, xyz, covariance, sure),
        xyz=xyz,
        errors=PathErrors(changing, person.sources @ person.problem.density),
        lengths=lengths,
        bony=np.isin(np.arange(len(lengths)), person.bone_numbers),
        names=person.names,
        sources=person.sources,
        views=person.rays.seen.reshape(-1, *joints.shape[:2]).sum(axis=0),
        limbs=limb_facts(_detected(person), joints, person.names, person.problem.nu),
        cameras=camera_shifts(person.standing, person.problem.rays, joints),
    )


def _planted(
    solved: Keypoints3D, skeleton: Skeleton, rig: CameraRig, settings: MotionSettings, errors: PathErrors
) -> Planted:
    """Knees and elbows within their limits, feet at rest in one place."""
    if settings.joint_limits:
        moved = within_limits(skeleton, solved.xyz[:, 0], solved.covariance[:, 0])
        solved = replace(solved, xyz=moved[:, None])
    return plant(solved, rig, errors, settings.contacts)


def _of_one(
    skeleton: Skeleton, times: FloatArray, xyz: FloatArray, covariance: FloatArray, sure: BoolArray
) -> Keypoints3D:
    """One person's joints while they are solved; NaN where they are not sure."""
    xyz = np.where(sure[..., None], xyz, np.nan)
    covariance = np.where(sure[..., None, None], covariance, np.nan)
    flag = np.where(sure, int(Flag.OBSERVED), int(Flag.UNOBSERVED))
    return Keypoints3D(skeleton.joint_names, times, xyz[:, None], covariance[:, None], flag[:, None])


def _start(
    raw: Keypoints3D, rig: CameraRig, views: Sequence[Keypoints2D], settings: MotionSettings, skeleton: Skeleton
) -> _Person:
    """Everything measured on single frames: noise, what stands, smoothed paths."""
    times, nu = raw.timestamps_s, settings.degrees_of_freedom
    active = raw.observed[:, 0].any(axis=0)
    if not active.any():
        raise DegenerateError(
            "no joint is seen by two agreeing views in any frame; check calibration, synchronisation and keypoints"
        )
    names = tuple(name for name, used in zip(raw.joint_names, active, strict=True) if used)
    rays = rays_from_keypoints(rig, views, settings.min_score)
    if not active.all():
        rays = rays.take(np.arange(rays.u.shape[1]).reshape(len(times), -1)[:, active].ravel())
    # kept to the end: 32 bits are good for 1e-4 px
    rays = replace(rays, **{key: getattr(rays, key).astype(np.float32) for key in ("u", "v", "uu", "uv", "vv")})
    sources = joint_sources(skeleton, raw.joint_names)
    sources = np.where((sources[:, ~active] == 0).all(axis=1, keepdims=True), sources, 0.0)[:, active]
    complete = sources.any(axis=1)
    numbers = np.flatnonzero(complete[1:] & complete[skeleton.parents[1:]] & anatomical(skeleton))
    mirror = _mirrored(numbers, skeleton)
    points, covariance = raw.xyz[:, 0][:, active], raw.covariance[:, 0][:, active]
    joints = np.stack([interpolate(column, times) for column in points.swapaxes(0, 1)], axis=1)
    standing = no_standing(rays, joints, mirror, rig.covariance)
    noise = keypoint_noise(rays, points.shape[:1] + (1,) + points.shape[1:2], nu)
    unbound = Bones(np.zeros((0, len(names))), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    single = Scaled(rays, curvature_factor(nu) * noise.variance)
    standing = update(standing, single, joints, unbound, times, noise.independent, nu)
    noise = keypoint_noise(corrected(rays, standing), points.shape[:1] + (1,) + points.shape[1:2], nu)
    sigma = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1) / 3)
    paths, density = smooth_paths(points, sigma, times, noise.memory)
    step = _step(times)
    typical = np.nanmedian(sigma, axis=0)
    density /= settings.smoothness * _smoother(noise, response_time(typical, step, density) / step)
    surrogate, honesty, variance = np.transpose(
        [white_surrogate(s, step, noise.memory, q) for s, q in zip(typical, density, strict=True)]
    )
    spacing = _KNOTS * response_time(typical * np.sqrt(surrogate), step, density)
    problem = Problem(
        rays=rays,
        times=times,
        nu=nu,
        knots=choose_knots(times, float(spacing.min())),
        density=density,
        surrogate=surrogate,
        bones=(sources[1:] - sources[skeleton.parents[1:]])[numbers],
        lengths=np.zeros(len(numbers)),
        bone_sigma=np.full(len(numbers), settings.bone_sigma_m),
    )
    return _Person(
        rays=rays,
        noise=noise,
        standing=standing,
        names=names,
        sources=sources,
        measured=raw.observed[:, 0][:, active],
        bone_numbers=numbers,
        problem=problem,
        joints=paths,
        honesty=honesty,
        variance=variance,
        looseness=np.zeros(len(numbers)),
        mirror=mirror,
    )


def _step(times: FloatArray) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def _mirrored(numbers: IntArray, skeleton: Skeleton) -> IntArray:
    """(B,) the chosen bones' partners on the other side of the body, as places among them; or themselves."""
    where = {bone: index for index, bone in enumerate(numbers)}
    other = mirrored_bones(skeleton)[numbers]
    return np.array([where.get(o, where[b]) for b, o in zip(numbers, other, strict=True)], dtype=np.int64)


def _smoother(
    noise: KeypointNoise,
    averaged: FloatArray,  # (J,) frames that the smoother averages over
) -> FloatArray | float:
    """Factor on the fitted smoothness: bodies move more smoothly than white jerk of the likeliest density.

    Measured on the synthetic dances at 6 to 240 frames/s, by error and by coverage: up to 3 for independent errors,
    less where few frames are averaged, for there the likeliest density follows the movement itself; 0.75 for errors
    with memory.
    """
    return np.clip(2 * averaged, 1.0, 3.0) if noise.memory < MEMORYLESS else 0.75


def _improved(person: _Person, bone_sigma: float) -> _Person:
    """One Gauss-Newton step with limbs as they look from here, then one on what stands."""
    problem, joints = person.problem, person.joints
    problem = replace(problem, rays=_observed(person), bone_sigma=np.hypot(bone_sigma, person.looseness))
    moved = joints.copy()
    for frames, step, _ in steps(problem, joints):
        moved[frames] += step
    return replace(person, problem=problem, joints=moved)


def _detected(person: _Person) -> Scaled:
    """The rays as detected, with covariances that stand for the memory."""
    scale = curvature_factor(person.problem.nu) * person.noise.variance * person.problem.surrogate
    return Scaled(person.rays, scale)


def _observed(person: _Person) -> Reading:
    """The same with limbs exchanged back, standing errors taken off, and without limbs that stray."""
    detected, names = _detected(person), person.names
    limbs = exchanged_limbs(detected, person.joints, names, person.problem.nu)
    reading = Reading.of(detected, names, exchanged_joints(limbs, names), person.standing)
    return reading.without(stray_limbs(reading, person.joints, names, person.problem.surrogate))


def _settled(person: _Person) -> _Person:
    """What stands, as it looks from where the joints are; bone lengths with it."""
    problem = person.problem
    bones = _bones(person)
    standing = update(
        person.standing, _plain(person), person.joints, bones, problem.times, person.noise.independent, problem.nu
    )
    change = standing.lengthening - person.standing.lengthening
    return replace(person, standing=standing, problem=replace(problem, lengths=problem.lengths + change))


def _bones(person: _Person) -> Bones:
    return Bones(person.problem.bones, person.problem.lengths, person.problem.bone_sigma, person.mirror)


def _plain(person: _Person) -> Scaled:
    """The problem's rays with the covariance of single keypoints."""
    return Scaled(person.problem.rays, 1 / person.problem.surrogate)


def _measured_lengths(person: _Person) -> tuple[FloatArray, FloatArray]:
    """(B,) length of each bone and its spread over the frames."""
    edges = person.problem.bones
    if not len(edges):
        return np.zeros(0), np.zeros(0)
    measured = np.stack([person.measured[:, row != 0].all(axis=1) for row in edges], axis=1)
    measured |= ~measured.any(axis=0)  # a bone whose ends were never measured together: where they are thought to be
    return bones.robust_lengths(edges @ person.joints, measured)


def _looseness(person: _Person) -> FloatArray:
    """(B,) m: how much bones change their length beyond what the smoothed path's noise explains.

    What a detector calls the ends of a bone may move on the body (a neck between the shoulders, a nose).
    """
    if not len(person.bone_numbers):
        return np.zeros(0)
    spread = _measured_lengths(person)[1]
    return np.sqrt(np.maximum(spread**2 - _CHANCE * person.problem.bones**2 @ person.variance, 0.0))


def _all_lengths(person: _Person, skeleton: Skeleton) -> FloatArray:
    """(B,) lengths of all bones; those never measured are a grown person's, scaled like the measured ones."""
    lengths = rest_lengths(skeleton)
    ratio = person.problem.lengths / lengths[person.bone_numbers]
    lengths *= np.median(ratio) if len(ratio) else 1.0
    lengths[person.bone_numbers] = person.problem.lengths
    return lengths


def _with_covariance(person: _Person) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The last step: joints (T, J, 3), and the covariance of the skeleton's joints (T, S, 3, 3).

    With it (S,) m² per axis, the median of that part of it that changes in time.
    """
    problem, joints = person.problem, person.joints  # moved in place: nobody asks any more where they were
    first = person.sources.argmax(axis=1)
    second = person.sources.shape[1] - 1 - person.sources[:, ::-1].argmax(axis=1)
    covariance = np.empty((len(joints), len(first), 3, 3))
    couples = np.concatenate([np.stack(c, axis=1) for c in ((first, first), (first, second), (second, second))])
    honesty = np.sqrt(person.honesty[couples].prod(axis=1))[:, None, None]
    for frames, step, shared in steps(problem, person.joints, couples):
        assert shared is not None, "steps gives covariance when asked to"
        joints[frames] += step
        own, across, other = np.split(shared * honesty, 3, axis=1)
        covariance[frames] = (own + across + across.swapaxes(-1, -2) + other) / 4
    joints = _bound(problem, joints)
    changing = np.median(np.trace(covariance, axis1=-2, axis2=-1), axis=0) / 3
    _bridge(person, joints, covariance)
    covariance += joint_covariance(
        person.standing, _plain(person), joints, _bones(person), problem.times, problem.nu, person.sources
    )
    return joints, covariance, changing


def _bound(problem: Problem, joints: FloatArray) -> FloatArray:
    """Joints with their bones mended where the last step, which is longer than the others, tore them apart.

    It takes the t likelihood's curvature, which is flat where the views disagree: a joint in a single view may leave
    its bones by centimetres then.
    """
    for _ in range(_MENDS):
        length = np.linalg.norm(problem.bones @ joints, axis=-1)
        if not (np.abs(length - problem.lengths) > _TORN_M + 3 * problem.bone_sigma).any():
            break
        moved = joints.copy()
        for frames, step, _ in steps(problem, joints):
            moved[frames] += step
        joints = moved
    return joints


def _bridge(person: _Person, joints: FloatArray, covariance: FloatArray) -> None:
    """Enlarge the covariance (T, S, 3, 3) of the skeleton's joints where they were bridged."""
    problem = person.problem
    shape = (len(problem.rays.seen), *problem.shape)
    views = np.empty(shape, bool)
    for frames, delta in block_distances(problem.rays, joints):
        views[:, frames] = delta < _WILD
    views &= problem.rays.seen.reshape(shape)
    factors = bridge_factors(joints, views.sum(axis=0) > 1, problem.times, problem.density)
    centres = problem.rays.take(np.arange(len(joints)) * shape[2]).centres

    def bridged(row: int, joint: int) -> FloatArray:
        rays = joints[:, joint] - centres
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        parts = (covariance[:, row, None], views[:, :, joint, None], rays[:, :, None])
        return bridged_covariance(*parts, [factors[joint]], problem.times)[:, 0]

    for row, source in enumerate(person.sources):  # few joints; a derived one takes the wider of its sources' bridges
        found = [bridged(row, joint) for joint in np.flatnonzero(source)]
        if found:
            larger = np.argmax([np.trace(part, axis1=-2, axis2=-1) for part in found], axis=0)
            covariance[:, row] = np.stack(found)[larger, np.arange(len(joints))]
