"""tools/compare_truth.py: errors, offsets and coverage by hand, on small made-up estimates."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from inference.errors import InputError
from inference.files.c3d import write_c3d
from inference.files.trc import write_trc
from inference.types import Flag, Keypoints3D
from tools import compare_truth
from tools.compare_truth import (
    Truth,
    _plain_name,
    compare,
    compare_layer,
    coverage,
    read_truth,
    table,
    world_from_heading,
)

NAMES = ("left_hip", "right_hip", "left_big_toe", "nose")


def turning_truth(frames: int = 20) -> Truth:
    """A body that turns by a quarter about Z and rises, at 10 frames a second."""
    rest = np.array([[0.1, 0, 1], [-0.1, 0, 1], [0.1, -0.2, 0], [0, -0.1, 1.6]])
    angles = np.linspace(0, np.pi / 2, frames)
    c, s, zero, one = np.cos(angles), np.sin(angles), np.zeros(frames), np.ones(frames)
    turn = np.moveaxis(np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]]), -1, 0)
    return Truth(NAMES, np.arange(frames) / 10, np.einsum("tab,jb->tja", turn, rest))


def estimate_of(truth: Truth, shift: np.ndarray | float = 0.0, names: tuple[str, ...] = NAMES) -> Keypoints3D:
    """One person at the truth plus a shift, with σ = 10 mm."""
    xyz = (truth.xyz + shift)[:, None]
    covariance = np.broadcast_to(1e-4 * np.eye(3), (*xyz.shape, 3))
    flag = np.full(xyz.shape[:-1], Flag.OBSERVED)
    return Keypoints3D(names, truth.timestamps_s, xyz, covariance, flag)


def test_truth_itself_has_no_error() -> None:
    truth = turning_truth()
    result = compare_layer(estimate_of(truth), truth)
    assert result["frames"] == 20 and result["joints"] == 4 and result["observed"] == 1
    assert result["as_it_is"] == {"mean_mm": 0, "median_mm": 0, "percentile_95_mm": 0, "coverage_95": 1}


def test_shift_of_the_world_by_hand() -> None:
    """3-4-12 mm is 13 mm; 13² / 10² = 1.69 lies inside chi-square's 7.81, 40 mm does not."""
    truth = turning_truth()
    near = compare_layer(estimate_of(truth, np.array([0.003, 0.004, 0.012])), truth)["as_it_is"]
    assert near["mean_mm"] == pytest.approx(13) and near["percentile_95_mm"] == pytest.approx(13)
    assert near["coverage_95"] == 1
    assert compare_layer(estimate_of(truth, np.array([0.04, 0, 0])), truth)["as_it_is"]["coverage_95"] == 0


def test_offset_that_turns_with_the_person_is_removed() -> None:
    truth = turning_truth()
    turn = world_from_heading(truth.xyz, NAMES)
    local = np.array([[0.03, 0, 0], [0, 0, 0.02], [0, 0.01, 0], [0, 0, 0]])
    result = compare_layer(estimate_of(truth, np.einsum("tab,jb->tja", turn, local)), truth)
    assert result["as_it_is"]["mean_mm"] == pytest.approx((30 + 20 + 10 + 0) / 4)
    assert result["without_joint_offsets"]["mean_mm"] == pytest.approx(0, abs=1e-9)
    assert result["per_joint"]["left_hip"]["offset_mm"] == pytest.approx(30)


def test_offset_fixed_in_the_world_remains_while_the_person_turns() -> None:
    truth = turning_truth()
    result = compare_layer(estimate_of(truth, np.array([0.03, 0, 0])), truth)
    assert result["without_joint_offsets"]["mean_mm"] > 5


def test_heading_axes_by_hand() -> None:
    """Facing -Y, left is +X, back is +Y."""
    truth = turning_truth()
    turn = world_from_heading(truth.xyz, NAMES)
    np.testing.assert_allclose(turn[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turn[-1] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_joints_are_matched_by_place_and_order_does_not_matter() -> None:
    truth = turning_truth()
    names = ("nose", "left_foot_index", "right_hip", "left_hip")
    reordered = replace(estimate_of(truth), joint_names=names, xyz=truth.xyz[:, None, [3, 2, 1, 0]])
    result = compare_layer(reordered, truth)
    assert result["joints"] == 4 and result["as_it_is"]["mean_mm"] == 0


def test_times_between_and_outside() -> None:
    """Truth on a straight way is met exactly between its frames; frames after its end are left out."""
    way = np.arange(5.0)[:, None, None] * [1.0, 0, 0] + turning_truth(1).xyz
    truth = Truth(NAMES, np.arange(5) / 10, way)
    later = Truth(NAMES, truth.timestamps_s + 0.05, way + [0.5, 0, 0])
    result = compare_layer(estimate_of(later), truth)
    assert result["frames"] == 4 and result["as_it_is"]["mean_mm"] == pytest.approx(0, abs=1e-9)


def test_missing_joints_count_as_unobserved_only() -> None:
    truth = turning_truth()
    full = estimate_of(truth)
    hole = np.array(full.xyz)
    hole[:10, 0, 3] = np.nan
    hole[:, 0, 2] = np.nan
    result = compare_layer(replace(full, xyz=hole), truth)
    assert result["observed"] == pytest.approx((4 * 20 - 30) / 80)
    assert result["per_joint"]["left_big_toe"] == {
        "observed": 0.0,
        "mean_mm": None,
        "offset_mm": None,
        "mean_without_offset_mm": None,
    }
    assert result["as_it_is"]["mean_mm"] == 0


def test_nothing_observed_gives_no_numbers() -> None:
    truth = turning_truth()
    full = estimate_of(truth)
    result = compare_layer(replace(full, xyz=np.full(full.xyz.shape, np.nan)), truth)
    assert result["observed"] == 0 and result["as_it_is"]["mean_mm"] is None


def test_of_several_people_the_nearest_counts() -> None:
    truth = turning_truth()
    one = estimate_of(truth)
    pair = {name: np.concatenate([getattr(one, name)] * 2, axis=1) for name in ("xyz", "covariance", "flag")}
    pair["xyz"][:, 0] += 1
    result = compare_layer(Keypoints3D(NAMES, truth.timestamps_s, **pair), truth)
    assert result["person"] == 1 and result["as_it_is"]["mean_mm"] == 0


@pytest.mark.parametrize("nu", [float("inf"), 5.0])
def test_coverage_of_errors_that_follow_the_stated_law(nu: float) -> None:
    """95 % of 40,000 draws; the share's standard error is 0.11 %, the bound is five of them."""
    generator = np.random.default_rng(3)
    root = np.array([[0.02, 0, 0], [0.01, 0.005, 0], [0.0, 0.004, 0.01]])
    draws = generator.standard_normal((40_000, 3)) @ root.T
    covariance = root @ root.T
    if np.isfinite(nu):
        draws *= np.sqrt(nu / generator.chisquare(nu, (40_000, 1)))
        covariance = covariance * nu / (nu - 2)
    share = coverage(draws, np.broadcast_to(covariance, (40_000, 3, 3)), nu)
    assert share == pytest.approx(0.95, abs=0.0055)
    assert coverage(1.5 * draws, np.broadcast_to(covariance, (40_000, 3, 3)), nu) < 0.9


def test_both_layers_and_the_table() -> None:
    truth = turning_truth()
    solution = SimpleNamespace(raw=estimate_of(truth, 0.01), solved=estimate_of(truth))
    result = compare(solution, truth)  # pyright: ignore[reportArgumentType]
    text = table(result)
    assert result["raw"]["as_it_is"]["mean_mm"] == pytest.approx(1000 * np.sqrt(3) * 0.01)
    assert "as it is (no alignment)" in text and "without constant joint offsets" in text and "17.3" in text


def test_different_takes_are_refused() -> None:
    truth = turning_truth()
    stranger = replace(estimate_of(truth), joint_names=("a", "b", "c", "d"))
    with pytest.raises(InputError, match="share no joint or no time"):
        compare_layer(stranger, truth)
    late = replace(estimate_of(truth), timestamps_s=truth.timestamps_s + 100)
    with pytest.raises(InputError, match="share no joint or no time"):
        compare_layer(late, truth)
    with pytest.raises(InputError, match="no left_hip and right_hip"):
        compare_layer(estimate_of(truth), replace(truth, joint_names=("a", "b", "c", "nose")))


def test_truth_files_that_cannot_be_read(tmp_path: Path) -> None:
    good = turning_truth()
    path = tmp_path / "truth.npz"
    np.savez(path, joint_names=np.array(NAMES), xyz=good.xyz, timestamps_s=good.timestamps_s)
    np.testing.assert_array_equal(read_truth(path).xyz, good.xyz)
    np.savez(path, joint_names=np.array(NAMES), xyz=good.xyz[:, :2], timestamps_s=good.timestamps_s)
    with pytest.raises(InputError, match="is no truth file"):
        read_truth(path)
    path.write_text("nothing")
    with pytest.raises(InputError, match="is no truth file"):
        read_truth(path)
    with pytest.raises(InputError, match="is no truth file"):
        read_truth(tmp_path / "absent.npz")


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_truth.main([str(tmp_path / "absent.npz"), str(tmp_path / "absent.npz")]) == 2
    caught = capsys.readouterr()
    assert caught.out == "" and len(caught.err.strip().splitlines()) == 1 and "absent.npz" in caught.err


@pytest.mark.parametrize("suffix", [".trc", ".c3d"])
def test_trajectories_of_other_tools_are_truth_too(tmp_path: Path, suffix: str) -> None:
    """Written and read again: half a millimetre of rounding at most; the times begin at 0."""
    truth = turning_truth()
    estimate = estimate_of(truth)
    path = tmp_path / f"other{suffix}"
    {".trc": write_trc, ".c3d": write_c3d}[suffix](path, estimate)
    read = read_truth(path)
    assert read.joint_names == truth.joint_names
    assert read.timestamps_s[0] == 0
    assert compare_layer(estimate, read)["as_it_is"]["mean_mm"] < 0.5
    moved = compare_layer(estimate_of(truth, 0.1), read)["as_it_is"]["mean_mm"]
    assert moved == pytest.approx(100 * np.sqrt(3), rel=0.01)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("RBigToe", "right_big_toe"), ("LHip", "left_hip"), ("Nose", "nose"), ("left_knee", "left_knee"), ("LKN", "lkn")],
)
def test_names_of_other_tools(name: str, plain: str) -> None:
    assert _plain_name(name) == plain
