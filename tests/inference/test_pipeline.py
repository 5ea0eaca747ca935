"""A whole solve through the entry that users take, from keypoints and from pixels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.calibration.gauge import stature
from inference.corrections import PIN, Correction
from inference.errors import CalibrationError, Cancelled, DegenerateError, InputError
from inference.files.anipose_toml import write_anipose_toml
from inference.files.colmap import write_colmap
from inference.files.corrections_toml import corrections_path, write_corrections
from inference.files.solution import read_solution
from inference.layouts import shared_joints
from inference.pipeline import check_folder, solve, solve_again, whole_folder
from inference.progress import Progress
from inference.take import read_take
from inference.types import Camera, Flag, Solution
from tests.keypoint_take import write_take
from tests.synthetic import Scene

OUTPUTS = {"solution.npz", "keypoints.kept", "made_with.json", "report.json", "report.html", "preview.png"}


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene, Solution]:
    folder = tmp_path_factory.mktemp("take")
    scene = write_take(folder)
    return folder, scene, solve(read_take(folder / "take.toml"), folder / "out")


def test_the_solve_is_near_the_truth(solved: tuple[Path, Scene, Solution]) -> None:
    """Bound: 1 px at 4.5 m and f = 1400 px is 3.2 mm; three cameras and time can only improve on it, bones cost 2x."""
    _, scene, solution = solved
    names, ours, true = shared_joints(solution.solved.joint_names, scene.joint_names)
    assert len(names) == 17
    error = np.linalg.norm(solution.solved.xyz[:, :, ours] - scene.xyz[:, :, true], axis=-1)
    assert np.nanmean(error) < 0.0064
    assert solution.solved.observed.mean() > 0.98


def test_every_output_is_written_and_reads_back(solved: tuple[Path, Scene, Solution]) -> None:
    folder, _, solution = solved
    assert {path.name for path in (folder / "out").iterdir()} == OUTPUTS
    again = read_solution(folder / "out" / "solution.npz")
    np.testing.assert_array_equal(again.solved.xyz, solution.solved.xyz)
    report = json.loads((folder / "out" / "report.json").read_text())
    assert set(report["seconds"]) >= {"views", "keypoints", "people", "joints", "motion"}


def test_contract_of_the_solution_file(solved: tuple[Path, Scene, Solution]) -> None:
    """Bone lengths constant within 1 mm, forward kinematics within 5 mm, flags fit what is observed."""
    folder, _, _ = solved
    with np.load(folder / "out" / "solution.npz", allow_pickle=False) as file:
        data = dict(file)
    parents, xyz = data["parents"], data["xyz"][:, 0]
    children = np.flatnonzero(parents >= 0)
    lengths = np.linalg.norm(xyz[:, children] - xyz[:, parents[children]], axis=-1)
    assert np.nanmax(np.nanmax(lengths, axis=0) - np.nanmin(lengths, axis=0)) < 1e-3
    walked = forward_kinematics(data)
    bones = np.isfinite(xyz).all(axis=-1)
    assert np.abs((walked - xyz)[bones]).max() < 5e-3
    assert (data["observed"] == (data["flag"] >= Flag.WEAK)).all()
    assert np.isnan(data["xyz"][~data["observed"]]).all()
    assert np.allclose(np.linalg.norm(data["local_rotation"], axis=-1), 1)
    steps = (data["local_rotation"][1:] * data["local_rotation"][:-1]).sum(axis=-1)
    assert (steps > 0).all()  # signs are continuous


def test_the_solution_file_holds_no_stray_key(solved: tuple[Path, Scene, Solution]) -> None:
    """The table of docs/files.md and nothing else (an option of numpy's once became an array)."""
    folder, _, _ = solved
    page = (Path(__file__).resolve().parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    with np.load(folder / "out" / "solution.npz", allow_pickle=False) as file:
        assert [key for key in file.files if f"`{key}`" not in page] == []
        assert all(array.dtype != object for array in file.values())


def forward_kinematics(data: dict[str, np.ndarray]) -> np.ndarray:
    """Joints (T, J, 3) from the contract's keys alone: +Y along each bone, rotations relative to the parent bone."""
    joints = np.full(data["xyz"][:, 0].shape, np.nan)
    ends, parents = data["bone_joints"], data["bone_parents"]
    joints[:, ends[0, 0]] = data["root_translation"][:, 0]
    world = np.empty((len(joints), len(ends), 3, 3))
    for bone, (start, end) in enumerate(ends):
        local = rotation_matrix(data["local_rotation"][:, 0, bone])
        world[:, bone] = local if parents[bone] < 0 else world[:, parents[bone]] @ local
        joints[:, end] = joints[:, start] + world[:, bone, :, 1] * data["bone_length"][0, bone]
    return joints


def rotation_matrix(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def test_views_of_another_recording_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    write_take(tmp_path, cameras=2)
    for path in (tmp_path / "keypoints" / sorted(p.name for p in (tmp_path / "keypoints").iterdir())[0]).iterdir():
        content = json.loads(path.read_text())
        for person in content["people"]:
            person["pose_keypoints_2d"][1::3] = [v and v - 250 for v in person["pose_keypoints_2d"][1::3]]
        path.write_text(json.dumps(content))
    with pytest.raises(DegenerateError, match="check that the calibration belongs to these videos"):
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_views_with_swapped_names_are_named(tmp_path: Path) -> None:
    """Two of four cameras exchanged: refused; the two that are right solve the take where the user says so."""
    write_take(tmp_path, cameras=4, frames=12)
    folder = tmp_path / "keypoints"
    first, second = sorted(path.name for path in folder.iterdir())[:2]
    (folder / first).rename(folder / "spare")
    (folder / second).rename(folder / first)
    (folder / "spare").rename(folder / second)
    with pytest.raises(CalibrationError, match=f"names of {first} and {second} were swapped.*misfit = .warn"):
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    solve(read_take(tmp_path / "take.toml", {"misfit": "warn"}), tmp_path / "out")
    warnings = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
    assert [f"view {name}: its people fit nobody" in " ".join(warnings) for name in (first, second)] == [True, True]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "cameras.toml"', 'source = "self"', "not their lenses"),
        ("[calibration]", "start = 50.0\n[calibration]", "no frame"),
    ],
)
def test_what_this_version_cannot_do_is_said_and_leaves_nothing(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    write_take(tmp_path, frames=4)
    path = tmp_path / "take.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        solve(read_take(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def shifted_take(folder: Path, offset: str, dropped: int = 9) -> Path:
    """A take whose third view starts some frames late, with that ``offset_s`` in the file."""
    write_take(folder, frames=120)
    late = sorted((folder / "keypoints").iterdir())[2]
    for path in sorted(late.iterdir())[:dropped]:
        path.unlink()
    path = folder / "take.toml"
    head, last = path.read_text().rsplit("fps = 60", 1)
    path.write_text(f"{head}fps = 60\noffset_s = {offset}{last}")
    return path


def test_a_view_out_of_step_is_put_in_step(tmp_path: Path) -> None:
    """Nine frames late at 60 fps: 0.15 s. Measured: 0.4 ms off; bound: a tenth of a frame."""
    solution = solve(read_take(shifted_take(tmp_path, '"auto"')), tmp_path / "out")
    np.testing.assert_allclose(solution.offset_s, [0, 0, 0.15], atol=1 / 600)
    fact = json.loads((tmp_path / "out" / "report.json").read_text())["facts"]["synchronisation"][2]
    assert fact["found"]
    assert 0 < fact["offset_sigma_s"] < 1 / 600
    assert read_solution(tmp_path / "out" / "solution.npz").offset_s[2] == solution.offset_s[2]


def test_an_offset_that_the_motion_denies_is_named(tmp_path: Path) -> None:
    solve(read_take(shifted_take(tmp_path, "0.0")), tmp_path / "out")
    (warning,) = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
    assert warning.startswith("view cam03: offset_s = 0 does not fit the motion; 0.149 s does")


def test_cancelling_leaves_earlier_results_alone(solved: tuple[Path, Scene, Solution], tmp_path: Path) -> None:
    write_take(tmp_path, frames=6)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("of yesterday")
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out", progress)
    assert (tmp_path / "out" / "report.html").read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cameras.toml", "keypoints", "out", "take.toml"]


def test_a_folder_is_filled_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("…")
        raise RuntimeError("the disk is full")
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "out") as folder:
        (folder / "whole").write_text("…")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_output_folder_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_take(tmp_path, frames=4)
    seen = Stages()
    for out in (tmp_path / "file", tmp_path / "file" / "deeper", tmp_path / ("long" * 100)):
        with pytest.raises(InputError, match="output folder"):
            solve(read_take(tmp_path / "take.toml"), out, seen)
    assert seen.names == []
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


class Stages(Progress):
    """Remembers which stages began."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def _begin(self, stage: str, total: int) -> None:
        self.names.append(stage)


def test_a_calibration_that_is_wrong_throughout_is_explained(tmp_path: Path) -> None:
    scene = write_take(tmp_path, frames=30)
    wrong = tuple(Camera(c.intrinsics, c.R.T, -c.R.T @ c.t) for c in scene.rig.cameras)
    write_anipose_toml(tmp_path / "cameras.toml", wrong)
    with pytest.raises(CalibrationError, match="poses were inverted"):
        solve(read_take(tmp_path / "take.toml"), tmp_path / "out")
    with pytest.raises(DegenerateError, match="poses were inverted"):
        solve(read_take(tmp_path / "take.toml", {"misfit": "warn"}), tmp_path / "out")


def test_a_reconstruction_gets_its_scale_from_the_person_or_from_a_distance(tmp_path: Path) -> None:
    """A height from the joints is good to some percent; a measured distance is exact."""
    scene = write_take(tmp_path, frames=30)
    write_colmap(tmp_path / "colmap", [Camera(c.intrinsics, c.R, 0.137 * c.t) for c in scene.rig.cameras])
    path, out = tmp_path / "take.toml", tmp_path / "out"
    text = path.read_text().replace("cameras.toml", "colmap")
    path.write_text(text)
    with pytest.raises(CalibrationError, match="distance_m"):
        solve(read_take(path), out)
    first, second = (camera.centre for camera in scene.rig.cameras[:2])
    measured = f'distance_m = {np.linalg.norm(first - second)}\ndistance_between = ["cam01", "cam02"]'
    person = 1.05 * stature(scene.xyz[:, 0], scene.joint_names)
    for old, more, scale, bound in (
        ("[take]", f"height_m = {person}", 1.05, 0.03),
        ("[calibration]", measured, 1.0, 1e-9),
    ):
        path.write_text(text.replace(old, f"{old}\n{more}", 1))
        rig = solve(read_take(path), out).rig
        ratio = [a.centre[2] / b.centre[2] for a, b in zip(rig.cameras, scene.rig.cameras, strict=True)]
        np.testing.assert_allclose(ratio, scale, rtol=bound)
        told = json.loads((out / "report.json").read_text())["warnings"]
        assert any("no scale" in warning for warning in told) == ("height_m" in more)


def test_solving_again_gives_the_same_and_a_correction_changes_it(tmp_path: Path) -> None:
    scene = write_take(tmp_path)
    take, out = tmp_path / "take.toml", tmp_path / "out"
    first = solve(read_take(take), out)
    told: list[tuple[Path, bool]] = []
    again = solve_again(read_take(take), out, on_solution=lambda *said: told.append(said))
    assert told == [(out / "solution.npz", True)]
    np.testing.assert_array_equal(again.solved.xyz, first.solved.xyz)
    joint = first.solved.joint_names.index("left_wrist")
    place = first.solved.xyz[10, 0, joint] + [0.0, 0.0, 0.08]
    time = float(scene.timestamps_s[10])
    pin = Correction("pin", 1, time, time, None, "left_wrist", tuple(float(x) for x in place), 0.003)
    write_corrections(corrections_path(take), [pin])
    mended = solve_again(read_take(take), out)
    before, after = (np.linalg.norm(item.solved.xyz[10, 0, joint] - place) for item in (first, mended))
    assert after < 0.5 * before
    assert np.abs(mended.solved.xyz[-3:] - first.solved.xyz[-3:]).max() < 0.02  # 0.2 s away little changes
    assert json.loads((out / "report.json").read_text())["facts"]["corrections"] == 1
    full = solve(read_take(take), out)
    np.testing.assert_allclose(full.solved.xyz, mended.solved.xyz)  # corrections belong to the take


def test_solving_again_refuses_another_state_of_the_take(tmp_path: Path) -> None:
    write_take(tmp_path)
    take, out = tmp_path / "take.toml", tmp_path / "out"
    with pytest.raises(InputError, match=r"keypoints\.kept does not exist"):
        solve_again(read_take(take), out)
    solve(read_take(take), out)
    kept = (out / "solution.npz").read_bytes()
    with pytest.raises(InputError, match="solve in full"):
        solve_again(read_take(take, {"max_ray_error_px": "50"}), out)
    (out / "keypoints.kept").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read as a file of kept keypoints"):
        solve_again(read_take(take), out)
    assert (out / "solution.npz").read_bytes() == kept


def test_with_one_view_a_pin_holds_along_its_ray_and_the_floor_tells_the_size(tmp_path: Path) -> None:
    scene = write_take(tmp_path, frames=20, cameras=2)
    path = tmp_path / "take.toml"
    one = "[[view]]".join(path.read_text().split("[[view]]")[:2])
    path.write_text(one.replace('source = "cameras.toml"', 'source = "cameras.toml"\nfloor = "zero"'))
    take, index = read_take(path), 3
    time, joint = float(scene.timestamps_s[index]), scene.joint_names.index("left_wrist")
    camera = scene.rig.cameras[0].centre
    place = camera + 1.05 * (scene.xyz[index, 0, joint] - camera)
    pin = Correction(PIN, 1, time, time, None, "left_wrist", tuple(place.tolist()), 0.005)
    off = []
    for name, corrections in (("without", ()), ("with", (pin,))):
        solution = solve(replace(take, corrections=corrections), tmp_path / name)
        solved = solution.solved
        off.append(np.linalg.norm(solved.xyz[index, 0, solved.joint_names.index("left_wrist")] - place))
        warnings = json.loads((tmp_path / name / "report.json").read_text())["warnings"]
        assert any("the floor" in warning for warning in warnings)
        assert any("what is pinned" in warning for warning in warnings) == (name == "with")
        assert solution.floor.tolist() == [0, 0, 1, 0]
    assert off[1] < 0.03 < 0.1 < off[0]
