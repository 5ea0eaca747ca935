"""Every stage shows in the result: where its output is dropped, what the user gets changes, and for the worse."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference import pipeline, unseen
from inference.config import MotionSettings, TriangulationSettings
from inference.files.anipose_toml import write_anipose_toml
from inference.geometry.triangulation import triangulate
from inference.motion import estimate, kinematics
from inference.pipeline import solve
from inference.take import read_take
from inference.types import Flag, SkeletonMotion, Solution
from inference.views import OpenedView
from tests.keypoint_take import write_take
from tests.planted_walk import make_walk
from tests.synthetic import BASE, SCENES, Scene, disturbed_rig, observe

HARD = replace(BASE, sigma_px=4.0, offset_px=4.0, swaps=0.1)


def joint_error_m(solution: Solution, scene: Scene) -> float:
    order = [solution.solved.joint_names.index(name) for name in scene.joint_names]
    return float(np.nanmean(np.linalg.norm(solution.solved.xyz[:, :, order] - scene.xyz, axis=-1)))


def turned_deg(first: Solution, second: Solution) -> float:
    """Largest difference of any bone's rotation: what Blender's keyframes hold."""
    same = np.abs((first.motion.local_rotation * second.motion.local_rotation).sum(axis=-1)).clip(0, 1)
    return float(np.rad2deg(2 * np.arccos(same)).max())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene, Solution]:
    """A take with swaps and standing errors, solved with all stages; its cameras are off and say so."""
    folder = tmp_path_factory.mktemp("stages")
    scene = write_take(folder, frames=60, cameras=4, noise=HARD, seed=5)
    write_anipose_toml(folder / "cameras.toml", disturbed_rig(scene.rig, 0.1, 0.003, 8).cameras)
    take = folder / "take.toml"
    stated = 'source = "cameras.toml"\nrotation_sigma_deg = 0.1\ncentre_sigma_m = 0.003'
    take.write_text(take.read_text().replace('source = "cameras.toml"', stated))
    return folder, scene, solve(read_take(take), folder / "out")


def _without_bones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_BONE_SIGMAS_M", (10.0, 10.0, 10.0))


def _without_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "exchanged_joints", lambda limbs, _: None)


def _without_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "update", lambda standing, *_: standing)


def _without_nearest_rigid(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(skeleton: Any, xyz: Any, _covariance: Any, lengths: Any, _rigid: Any) -> Any:
        return kinematics.rigid_joints(skeleton, xyz, lengths)

    monkeypatch.setattr(kinematics, "nearest_rigid", forward)


@pytest.mark.parametrize("dropped", [_without_bones, _without_swaps, _without_offsets, _without_nearest_rigid])
def test_a_dropped_stage_changes_the_keyframes(
    whole: tuple[Path, Scene, Solution], dropped: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scene, complete = whole
    dropped(monkeypatch)
    without = solve(read_take(folder / "take.toml"), folder / "without")
    assert turned_deg(complete, without) > 1.0
    # bones are almost rigid before they are made so: that stage moves the joints by less than chance does in one take
    assert joint_error_m(without, scene) > 0.99 * joint_error_m(complete, scene)


def test_the_cameras_own_covariance_is_in_the_ellipsoids(
    whole: tuple[Path, Scene, Solution], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, complete = whole
    estimate_motion = unseen.estimate_motion

    def exact(raw: Any, rig: Any, *arguments: Any) -> Any:
        return estimate_motion(raw, replace(rig, covariance=np.zeros_like(rig.covariance)), *arguments)

    monkeypatch.setattr(unseen, "estimate_motion", exact)
    without = solve(read_take(folder / "take.toml"), folder / "without")
    size = [np.nanmedian(np.trace(one.solved.covariance, axis1=-2, axis2=-1)) for one in (complete, without)]
    assert size[0] > 1.02 * size[1]  # most of it are standing errors of 4 px, which hide the cameras


def test_the_same_solve_twice_is_the_same(whole: tuple[Path, Scene, Solution]) -> None:
    """The negative control of these tests: nothing but the dropped stage makes the difference."""
    folder, _, complete = whole
    again = solve(read_take(folder / "take.toml"), folder / "again")
    assert turned_deg(complete, again) < 1e-3


def test_without_association_two_people_are_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views list the people in different orders; taken as they come, joints of two people are triangulated together."""
    write_take(tmp_path, frames=30, cameras=3, people=2)
    complete = solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    assert complete.solved.observed.mean() > 0.95
    monkeypatch.setattr(pipeline, "choose_people", lambda _rig, views, *_: tuple(views))
    without = solve(read_take(tmp_path / "take.toml"), tmp_path / "without")
    assert without.solved.flag.shape == complete.solved.flag.shape
    assert turned_deg(complete, without) > 10
    assert (without.raw.flag <= Flag.REJECTED).mean() > (complete.raw.flag <= Flag.REJECTED).mean() + 0.2


def test_without_synchronisation_a_late_view_bends_the_keyframes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last view starts four frames late and nobody says so."""
    scene = write_take(tmp_path, frames=120, cameras=3, seed=5)
    files = sorted((tmp_path / "keypoints" / "cam03").iterdir())
    for late, early in zip(files[4:], files, strict=False):
        late.replace(early)
    for file in files[-4:]:
        file.unlink(missing_ok=True)
    take = tmp_path / "take.toml"
    take.write_text(take.read_text().rstrip() + '\noffset_s = "auto"\n')
    complete = solve(read_take(take), tmp_path / "out")
    assert complete.offset_s[2] == pytest.approx(4 / 60, abs=0.004)

    def as_if_in_step(_take: Any, opened: list[OpenedView], *_: Any) -> list[OpenedView]:
        return [replace(item, found_offset_s=0.0) for item in opened]

    monkeypatch.setattr(pipeline, "views_in_step", as_if_in_step)
    without = solve(read_take(take), tmp_path / "without")
    found, missed = (_error_in_time_m(one, scene) for one in (complete, without))
    assert found < 0.02 and missed > 1.5 * found


def _error_in_time_m(solution: Solution, scene: Scene) -> float:
    """Mean joint error against the truth at the solution's own times."""
    frames = np.round(solution.solved.timestamps_s * 60).astype(int)
    known = (frames >= 0) & (frames < len(scene.xyz))
    order = [solution.solved.joint_names.index(name) for name in scene.joint_names]
    off = solution.solved.xyz[known][:, :, order] - scene.xyz[frames[known]]
    return float(np.nanmean(np.linalg.norm(off, axis=-1)))


def test_without_contacts_standing_feet_slide_in_the_keyframes(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, stands = make_walk(1, frames=90)
    views = observe(scene, SCENES["correlated"], 501)
    raw = triangulate(scene.rig, views, TriangulationSettings())

    def slide() -> tuple[SkeletonMotion, float]:
        solved, motion = estimate.estimate_motion(raw, scene.rig, views, MotionSettings())
        heel = solved.xyz[:, 0, solved.joint_names.index("left_heel")]
        standing = stands[1:, 0] & stands[:-1, 0]
        return motion, float(60 * np.linalg.norm(np.diff(heel, axis=0), axis=-1)[standing].mean())

    complete, little = slide()
    planted = estimate.plant
    monkeypatch.setattr(estimate, "plant", lambda joints, rig, errors, _contacts: planted(joints, rig, errors, "off"))
    without, much = slide()
    turned = np.abs((complete.local_rotation * without.local_rotation).sum(axis=-1)).clip(0, 1)
    assert np.rad2deg(2 * np.arccos(turned)).max() > 1.0
    assert little < 0.7 * much
