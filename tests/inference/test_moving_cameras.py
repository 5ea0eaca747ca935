"""A solve with cameras that move, from the files to the files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.calibrate import calibrate
from inference.calibration.diagnosis import diagnose
from inference.calibration.person_scale import person_height
from inference.errors import CalibrationError, InputError
from inference.files.anipose_toml import write_anipose_toml
from inference.files.calibration import read_calibration
from inference.files.camera_table import FramePath
from inference.files.solution import read_solution
from inference.moving_cameras import _gaps
from inference.pipeline import solve, solve_again
from inference.take import read_take
from inference.types import CameraPath, CameraRig
from inference.world import moved
from tests.keypoint_take import QUIET, write_take
from tests.synthetic import BASE, make_scene, moving_rig, observe


def error_m(solution, scene) -> float:
    """Mean over joints of the distance from the truth, in the world of the first camera's first pose."""
    own = [solution.solved.joint_names.index(name) for name in scene.joint_names]
    true, found = scene.rig.cameras[0], solution.rig.cameras[0]
    seen = solution.solved.xyz[:, 0][:, own] @ found.R.T + found.t
    frames = np.searchsorted(scene.timestamps_s, solution.solved.timestamps_s - 1e-6)
    return float(np.nanmean(np.linalg.norm(seen - (scene.xyz[frames, 0] @ true.R.T + true.t), axis=-1)))


def distance_px(out: Path, view: str) -> float:
    """Median distance of a view's keypoints from the others' epipolar lines."""
    return json.loads((out / "report.json").read_text())["facts"]["epipolar_distance_px"][view]


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moving")
    scene = write_take(folder, frames=60, cameras=4, moving=(0, 2))
    return folder, scene, solve(read_take(folder / "take.toml"), folder / "out")


def test_a_take_is_solved(solved) -> None:
    folder, scene, solution = solved
    assert solution.rig.moving == ("cam01", "cam03")
    assert error_m(solution, scene) < 0.006
    read = read_solution(folder / "out" / "solution.npz")
    for ours, theirs in zip(solution.rig.cameras, read.rig.cameras, strict=True):
        assert (ours.path is None) == (theirs.path is None)
        if ours.path is not None and theirs.path is not None:
            for key in ("times_s", "R", "t"):
                np.testing.assert_array_equal(getattr(ours.path, key), getattr(theirs.path, key))
    told = json.loads((folder / "out" / "report.json").read_text())["views"]
    assert [view["moves"] for view in told] == [True, False, True, False]
    assert max(view["reprojection_px"]["solved"]["median"] for view in told) < 2
    page = (folder / "out" / "report.html").read_text()
    assert page.count("(moves)") == 2 and "cam03 (moves)" in page
    assert (folder / "out" / "report.html").is_file() and (folder / "out" / "preview.png").is_file()
    with pytest.raises(CalibrationError, match="cam01, cam03 move, by the clock of the take"):
        read_calibration(folder / "out" / "solution.npz")


def test_it_is_solved_again_from_what_was_kept(solved) -> None:
    folder, scene, first = solved
    again = solve_again(read_take(folder / "take.toml"), folder / "out")
    np.testing.assert_allclose(again.solved.xyz, first.solved.xyz, atol=1e-6)
    assert again.rig.moving == first.rig.moving


def test_cameras_thought_to_stand_give_another_motion(solved, tmp_path: Path) -> None:
    folder, scene, _ = solved
    for name in ("take.toml", "keypoints"):
        (tmp_path / name).symlink_to(folder / name)
    text = (folder / "cameras.toml").read_text()
    (tmp_path / "cameras.toml").write_text(re.sub(r"path_.*\n", "", text))
    naive = solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    assert error_m(naive, scene) > 0.02


def test_poses_count_the_pictures_of_the_view_s_own_video(tmp_path: Path) -> None:
    """A view that starts later: its keypoints and its camera's poses are late together."""
    scene = write_take(tmp_path, frames=60, cameras=4, moving=(0, 2))
    late = 12
    for file in sorted((tmp_path / "keypoints" / "cam03").iterdir()):
        frame = int(re.findall(r"_(\d+)_", file.name)[0])
        file.rename(file.with_name(f"late_{frame - late:012d}_keypoints.json")) if frame >= late else file.unlink()
    found = read_calibration(tmp_path / "cameras.toml")
    path = found.paths["cam03"]
    paths = found.paths | {"cam03": FramePath(path.frames[:-late], path.R[late:], path.t[late:])}
    write_anipose_toml(tmp_path / "cameras.toml", tuple(found.cameras.values()), paths)
    take = (tmp_path / "take.toml").read_text()
    where = take.index('name = "cam03"')
    (tmp_path / "take.toml").write_text(take[:where] + f"offset_s = {late / 60}\n" + take[where:])
    solution = solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    assert error_m(solution, scene) < 0.006 and distance_px(tmp_path / "out", "cam03") < 2
    assert solution.rig.cameras[2].path is not None
    assert solution.rig.cameras[2].path.times_s[0] == pytest.approx(late / 60)
    write_anipose_toml(tmp_path / "cameras.toml", tuple(found.cameras.values()), found.paths)
    solve(read_take(tmp_path / "take.toml"), tmp_path / "wrong")  # the poses counted by the take's pictures instead
    assert distance_px(tmp_path / "wrong", "cam03") > 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"path_frames = \[0.0, 1.0,", "path_frames = [1.0, 1.0,", "path_frames must be numbers of pictures that rise"),
        (r"path_frames = .*", "path_frames = []", "path_frames must be numbers of pictures that rise, at least one"),
        (r"path_frames = .*", 'path_frames = "all"', "path_frames must be a list of numbers"),
        (r"path_rotations = .*\n", "", "this one has path_frames, path_translations"),
        (r"path_translations = \[\[", "path_translations = [[nan], [", "path_translations must be 60x3 numbers"),
        (r"path_frames = \[", "path_frames = [-100.0, ", "path_rotations must be 61x3 numbers"),
        (r"(path_frames = \[.*), 59.0\]", r"\1, 1e300]", "absurdly large"),
        (
            r"path_frames = ",
            "path_frame = ",
            "a camera that moves has path_frames, path_rotations, path_translations; this",
        ),
        (
            r"translation = \[",
            "translation = [1.0, 2.0, 3.0]\nold = [",
            "translation is not the first of path_translations",
        ),
    ],
)
def test_paths_that_are_broken_are_one_line(solved, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (solved[0] / "cameras.toml").read_text()
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    (tmp_path / "cameras.toml").write_text(changed)
    with pytest.raises(CalibrationError, match=message) as caught:
        read_calibration(tmp_path / "cameras.toml")
    assert "\n" not in str(caught.value)


def test_poses_must_reach_as_far_as_the_view(solved, tmp_path: Path) -> None:
    for name in ("take.toml", "keypoints"):
        (tmp_path / name).symlink_to(solved[0] / name)
    found = read_calibration(solved[0] / "cameras.toml")
    late = {name: FramePath(p.frames[20:], p.R[20:], p.t[20:]) for name, p in found.paths.items()}
    late_cameras = tuple(
        replace(c, R=late[n].R[0], t=late[n].t[0]) if n in late else c for n, c in found.cameras.items()
    )
    write_anipose_toml(tmp_path / "cameras.toml", late_cameras, late)
    with pytest.raises(
        InputError, match="view 'cam01': its camera moves, and its poses are known from 0.33 s to 0.98 s"
    ):
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    short = {name: FramePath(p.frames[:40], p.R[:40], p.t[:40]) for name, p in found.paths.items()}
    write_anipose_toml(tmp_path / "cameras.toml", tuple(found.cameras.values()), short)
    with pytest.raises(
        InputError, match="view 'cam01': its camera moves, and its poses are known from 0.00 s to 0.65 s"
    ):
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    take = (tmp_path / "take.toml").read_text().replace("[take]\n", "[take]\nend = 0.6\n")
    (tmp_path / "take.toml").unlink()
    (tmp_path / "take.toml").write_text(take)
    assert solve(read_take(tmp_path / "take.toml"), tmp_path / "out").rig.moving


def test_what_cannot_be_with_cameras_that_move(solved, tmp_path: Path) -> None:
    for name in ("cameras.toml", "keypoints"):
        (tmp_path / name).symlink_to(solved[0] / name)
    take = (solved[0] / "take.toml").read_text()
    (tmp_path / "take.toml").write_text(take + 'offset_s = "auto"\n')
    with pytest.raises(InputError, match="view 'cam04': offset_s = \"auto\" is found from cameras that stand still"):
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    (tmp_path / "take.toml").write_text(take.replace("[calibration]\n", "[calibration]\nrefine_cameras = true\n"))
    solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    assert "refine_cameras: cam01, cam03 move" in (tmp_path / "out" / "report.json").read_text()


def test_a_wrong_clock_or_scale_of_cameras_that_move_is_seen() -> None:
    scene = make_scene(200, seed=1)
    rig = moving_rig(scene.rig, scene.timestamps_s, seed=1)
    views = observe(replace(scene, rig=rig), BASE, 1)
    fine = diagnose(rig, views)
    assert fine is not None and not fine.suspicious and person_height(rig, views) == pytest.approx(1.7, abs=0.05)
    paths = [c.path for c in rig.cameras if c.path is not None]
    late = [CameraPath(path.times_s + 0.5, path.R, path.t) for path in paths]
    found = diagnose(_with(rig, late), views)
    assert found is not None and "check that the poses of the cameras that move count from the first" in found.words
    large = replace(rig, cameras=tuple(c.with_poses(lambda R, t: (R, 1000 * t)) for c in rig.cameras))
    found = diagnose(large, views)
    assert found is not None and "mm read as m" in found.words


def _with(rig: CameraRig, paths: list[CameraPath]) -> CameraRig:
    return replace(rig, cameras=tuple(replace(c, path=p) for c, p in zip(rig.cameras, paths, strict=True)))


def test_the_world_is_moved_with_all_poses(solved) -> None:
    solution = solved[2]
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    other = moved(solution, turn, np.array([1.0, 2.0, 3.0]))
    point = np.array([0.1, 0.2, 0.9])
    for before, after in zip(solution.rig.cameras, other.rig.cameras, strict=True):
        if before.path is not None and after.path is not None:
            there = turn @ point + [1.0, 2.0, 3.0]
            np.testing.assert_allclose(
                after.path.R @ there + after.path.t, before.path.R @ point + before.path.t, atol=1e-9
            )


def test_poses_that_lack_between_others_are_told(solved, tmp_path: Path) -> None:
    """Held and sparse poses are no gaps."""
    for name in ("take.toml", "keypoints"):
        (tmp_path / name).symlink_to(solved[0] / name)
    found = read_calibration(solved[0] / "cameras.toml")

    def warnings(rows: np.ndarray) -> list[str]:
        kept = {name: FramePath(p.frames[rows], p.R[rows], p.t[rows]) for name, p in found.paths.items()}
        write_anipose_toml(tmp_path / "cameras.toml", tuple(found.cameras.values()), kept)
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
        told = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
        return [words for words in told if "poses are missing" in words]

    assert warnings(np.arange(0, 60)) == []
    assert warnings(np.r_[np.arange(0, 60, 10), 59]) == []
    (first, second) = warnings(np.r_[np.arange(0, 10), np.arange(40, 60)])
    assert first.startswith("view cam01: its camera moves, and poses are missing at 0.15-0.67 s: there")
    assert second.startswith("view cam03")
    late = _gaps(CameraPath(np.array([0.0, 9.9, 10.0]), np.stack([np.eye(3)] * 3), np.zeros((3, 3))))
    assert late == []  # held


def test_cameras_are_calibrated_and_checked_on_the_clock_of_the_take(tmp_path: Path) -> None:
    """What is written has the paths, by the pictures of the videos; the check sees them move."""
    write_take(tmp_path, frames=60, cameras=4, moving=(0, 2))
    take = (tmp_path / "take.toml").read_text().replace('name = "cam03"', 'name = "cam03"\noffset_s = 0.1')
    (tmp_path / "take.toml").write_text(take)
    rig = calibrate(read_take(tmp_path / "take.toml"), tmp_path / "alone")
    assert rig.cameras[2].path is not None and rig.cameras[2].path.times_s[0] == pytest.approx(0.1)
    given, written = (read_calibration(path / "cameras.toml") for path in (tmp_path, tmp_path / "alone"))
    assert list(written.paths) == ["cam01", "cam03"]
    for name, path in written.paths.items():
        np.testing.assert_allclose(path.frames, given.paths[name].frames, atol=1e-9)
        np.testing.assert_allclose(path.t, given.paths[name].t, atol=1e-9)
    (tmp_path / "take.toml").write_text(take.replace("offset_s = 0.1\n", ""))
    calibrate(read_take(tmp_path / "take.toml"), tmp_path / "checked", check=True)
    told = json.loads((tmp_path / "checked" / "report.json").read_text())["cameras"]
    assert max(camera["median_error_px"] for camera in told) < 2


def test_one_view_late_beside_cameras_that_move_is_named() -> None:
    scene = make_scene(200, seed=1)
    rig = moving_rig(scene.rig, scene.timestamps_s, [2], seed=1)
    views = observe(replace(scene, rig=rig), QUIET, 1)
    fine = diagnose(rig, views)
    path = rig.cameras[2].path
    assert fine is not None and not fine.suspicious and path is not None
    late = replace(rig.cameras[2], path=CameraPath(path.times_s + 0.2, path.R, path.t))
    found = diagnose(replace(rig, cameras=(*rig.cameras[:2], late, rig.cameras[3])), views)
    assert found is not None and found.suspicious and found.worst == "cam03" and found.remedy is None
    assert "view cam03 disagrees with the others; check that the poses of the cameras that move count" in found.words


def test_the_clocks_of_views_that_stand_are_judged_beside_one_that_moves(tmp_path: Path) -> None:
    write_take(tmp_path, frames=120, cameras=4, moving=(0,))
    take = (tmp_path / "take.toml").read_text().replace('name = "cam03"', 'name = "cam03"\noffset_s = 0.2')
    (tmp_path / "take.toml").write_text(take)
    solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
    assert any(words.startswith("view cam03: offset_s = 0.2 does not fit the motion") for words in told)
