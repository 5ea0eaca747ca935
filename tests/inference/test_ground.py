"""Floor and contacts of a solve, and the world put on the floor where the take asks."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from inference.files.anipose_toml import write_anipose_toml
from inference.files.solution import read_solution
from inference.geometry.rotation import exp
from inference.layouts import layout
from inference.motion.contacts import contact_probabilities
from inference.pipeline import solve
from inference.take import read_take
from inference.types import Camera, CameraRig, Solution
from tests.inference.motion.test_floor import NAMES, walker
from tests.keypoint_take import QUIET, write_openpose, write_take
from tests.synthetic import Scene, circle_rig, observe

LAYOUT = "halpe_26"


def write_walk(
    folder: Path, calibration: str = "", solve_table: str = "", lift: float = 0.0, fall: float = 0.0
) -> None:
    """A take of the walker, whose world leans by ``fall`` rad and stands ``lift`` m too high."""
    names = layout(LAYOUT).joint_names
    xyz = np.full((120, len(names), 3), np.nan)
    body = walker(120, sigma_m=0.0)
    xyz[:, [names.index(name) for name in NAMES]] = body - [0.8, 0, 0]
    turn = exp(np.array([fall, 0, 0]))
    cameras = tuple(
        Camera(c.intrinsics, c.R @ turn.T, c.t - c.R @ turn.T @ [0, 0, lift]) for c in circle_rig(3).cameras
    )
    rig = CameraRig(cameras, np.zeros((18, 18)))
    scene = Scene(rig, names, np.arange(120) / 60, (xyz @ turn.T + [0, 0, lift])[:, None])
    write_anipose_toml(folder / "cameras.toml", cameras)
    lines = ["[calibration]", 'source = "cameras.toml"', calibration, "[solve]", solve_table]
    for view in observe(scene, QUIET, seed=1):
        write_openpose(folder / "keypoints" / view.view, view)
        lines += ["[[view]]", f'name = "{view.view}"', f'keypoints = "keypoints/{view.view}"']
        lines += [f'keypoint_layout = "{LAYOUT}"', "fps = 60"]
    (folder / "take.toml").write_text("\n".join(lines) + "\n")


def solved(folder: Path) -> tuple[Solution, dict]:
    solve(read_take(folder / "take.toml"), folder / "out")
    report = json.loads((folder / "out" / "report.json").read_text())
    return read_solution(folder / "out" / "solution.npz"), report


def test_the_world_is_kept_and_the_floor_told(tmp_path: Path) -> None:
    """Lifted by 0.3 m: the floor's plane says so, within 2 cm (1 px is 3 mm; feet carry no more)."""
    write_walk(tmp_path, lift=0.3)
    solution, report = solved(tmp_path)
    np.testing.assert_allclose(solution.floor, [0, 0, 1, -0.3], atol=0.02)
    assert set(solution.contact_names) == {n for n in NAMES if n.endswith(("heel", "toe"))}
    slides = report["facts"]["foot_slide_m_s"]
    assert {row["joint"] for row in slides} == set(solution.contact_names)
    assert all(row["after"] < row["before"] for row in slides)
    np.testing.assert_array_equal(contact_probabilities(solution.solved, solution.floor)[0], solution.contact)


def test_auto_puts_the_world_on_the_floor(tmp_path: Path) -> None:
    """Two seconds of walking leave about 2 degrees of tilt open: 0.2 m at cameras 4.5 m away."""
    write_walk(tmp_path, calibration='floor = "auto"', lift=0.3, fall=0.04)
    solution, _ = solved(tmp_path)
    np.testing.assert_allclose(solution.floor, [0, 0, 1, 0], atol=1e-9)
    heels = solution.solved.xyz[:, 0, solution.solved.joint_names.index("left_heel"), 2]
    assert np.nanpercentile(heels, 10) == pytest.approx(0.03, abs=0.02)
    centres = np.array([camera.centre[2] for camera in solution.rig.cameras])
    np.testing.assert_allclose(centres, [c.centre[2] for c in circle_rig(3).cameras], atol=0.2)


@pytest.mark.parametrize(
    ("lift", "said"),
    [(0.3, "stand 0.[23]. m above z = 0"), (-0.3, "stand 0.[23]. m below z = 0"), (0.1, None), (-0.1, None)],
)
def test_a_stated_floor_is_compared_with_the_feet(tmp_path: Path, lift: float, said: str | None) -> None:
    write_walk(tmp_path, calibration='floor = "zero"', lift=lift)
    solution, report = solved(tmp_path)
    np.testing.assert_array_equal(solution.floor, [0, 0, 1, 0])  # stated is stated
    told = [warning for warning in report["warnings"] if 'floor = "zero"' in warning]
    assert len(told) == (said is not None)
    assert all(re.search(said or "", warning) and "\n" not in warning for warning in told)


def test_contacts_can_be_left_out(tmp_path: Path) -> None:
    write_walk(tmp_path, solve_table='contacts = "off"')
    solution, report = solved(tmp_path)
    assert solution.contact.shape[2] == 0
    assert "foot_slide_m_s" not in report["facts"]
    assert np.isfinite(solution.floor).all()


def test_a_floor_that_is_wanted_and_not_found_is_said(tmp_path: Path) -> None:
    write_take(tmp_path, frames=12)
    path = tmp_path / "take.toml"
    path.write_text(path.read_text().replace('source = "cameras.toml"', 'source = "cameras.toml"\nfloor = "auto"'))
    solution, report = solved(tmp_path)
    assert np.isnan(solution.floor).all()
    assert any('floor = "auto"' in warning for warning in report["warnings"])
