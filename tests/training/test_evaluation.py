"""Judging detectors on labelled pictures, solutions beside each other, and tables beside published figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inference.errors import InputError
from inference.types import Keypoints3D
from training import evaluate
from training.evaluation import _summary, apart_mm, bone_spread_mm, protocol_scores, read_poses, table
from training.metrics import JOINT_SETS

NAMES = JOINT_SETS["h36m_17"]


def written_poses(folder, offset=0.031, mirrored=False):
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 0.4, (6, 17, 3))
    predicted = truth + 0.0
    predicted[:, 1:] += [offset, 0, 0]  # all joints but the root
    if mirrored:
        predicted = predicted * [-1, 1, 1]
    path = folder / "ours.npz"
    np.savez(path, predicted=predicted, truth=truth, joint_names=NAMES, actions=["a"] * 4 + ["b"] * 2)
    return path


def test_a_known_offset_stands_beside_the_published_rows(tmp_path, capsys):
    """16 of 17 joints are off by 31 mm: 29.2 mm. PCK counts 14 joints, the root not; 24 of 31 thresholds lie above."""
    path = written_poses(tmp_path)
    assert protocol_scores(read_poses(path), "h36m")["mpjpe"] == pytest.approx(31 * 16 / 17)
    scores = protocol_scores(read_poses(path), "mpi_inf_3dhp")
    assert (
        scores["pck"] == 100 and scores["mpjpe"] == pytest.approx(31) and scores["auc"] == pytest.approx(100 * 24 / 31)
    )
    assert evaluate.main(["poses", str(path), "--protocol", "h36m"]) == 0
    told = capsys.readouterr().out
    assert "| paper 1: spatial uncertainty, 4 cameras | 21.6 |  |  |" in told and "| **ours** | 29.2 |" in told


def test_a_compatibility_mode_is_named_and_differs(tmp_path):
    """A mirrored pose is far away after a proper alignment, and perfect in MargiPose's way."""
    poses = read_poses(written_poses(tmp_path, offset=0.0, mirrored=True))
    assert protocol_scores(poses, "h36m")["p_mpjpe"] > 50
    assert protocol_scores(poses, "h36m", "margipose_compat")["p_mpjpe"] < 1e-6
    with pytest.raises(InputError, match="unknown mode 'margipose'"):
        protocol_scores(poses, "h36m", "margipose")


@pytest.mark.parametrize("change", [{"joint_names": NAMES[:3]}, {"truth": np.zeros((5, 17, 3))}, {"predicted": None}])
def test_files_that_do_not_fit_are_one_line(tmp_path, capsys, change):
    arrays = dict(np.load(written_poses(tmp_path))) | change
    path = tmp_path / "bad.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    assert evaluate.main(["poses", str(path), "--protocol", "h36m"]) == 2
    told = capsys.readouterr().err
    assert "bad.npz" in told and told.count("\n") == 1


def test_unknown_protocols():
    with pytest.raises(InputError, match="unknown protocol 'h37m'"):
        table("h37m", {})


def test_what_was_not_found_counts_as_wrong():
    """Two of four joints found, both right: half, not all. A joint without a label does not count."""
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "nose")
    truth = np.array([[[0, 0], [40.0, 0], [0, 100], [40, 100], [np.nan, np.nan]]])
    error = np.array([[[1.0, 0], [0, 1], [np.nan, np.nan], [np.nan, np.nan], [np.nan, np.nan]]])
    covariance = np.where(np.isfinite(error)[..., None], np.eye(2), np.nan)
    scores = _summary(error, covariance, truth, names)
    assert scores["pck_02"] == scores["found"] == 0.5
    assert scores["error_px"] == pytest.approx(1.0)
    with pytest.raises(InputError, match="no shoulders and hips"):
        _summary(error[:, :2], covariance[:, :2], truth[:, :2], names[:2])


def test_people_without_a_torso_do_not_count():
    """The second person's hips are not labelled: there is nothing to measure its joints by."""
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    truth = np.array([[[0, 0], [40.0, 0], [0, 100], [40, 100]]] * 2)
    truth[1, 2:] = np.nan
    error = np.where(np.isfinite(truth), 1.0, np.nan)
    covariance = np.where(np.isfinite(error)[..., None], np.eye(2), np.nan)
    assert _summary(error, covariance, truth, names)["pck_02"] == 1.0
    error[0, 0] = 90.0
    assert _summary(error, covariance, truth, names)["pck_02"] == 0.75


def layer(xyz):
    shape = xyz.shape[:-1]
    covariance = np.broadcast_to(np.eye(3), (*shape, 3, 3))
    return Keypoints3D(("left_hip", "left_knee"), np.arange(len(xyz)) / 50, xyz, covariance, np.full(shape, 3), 5.0)


def test_two_solutions_beside_each_other():
    """The second is 0.01 m higher; its thigh varies, the first one's does not."""
    first = np.zeros((40, 1, 2, 3))
    first[:, :, 1, 2] = -0.4
    second = first + [0, 0, 0.01]
    assert apart_mm(layer(second), layer(first)) == pytest.approx(10)
    second[::2, 0, 1, 2] -= 0.05
    assert bone_spread_mm(layer(first)) == pytest.approx(0, abs=1e-9)
    assert bone_spread_mm(layer(second)) > 10
    with pytest.raises(InputError, match="differ in frames or persons"):
        apart_mm(layer(first[:5]), layer(first))


def test_figures_are_kept_in_the_card_once(tmp_path):
    card = tmp_path / "c.toml"
    card.write_text('name = "c"\n[accuracy]\nheld_out_pck_02 = 0.5\nreal_pck_02 = 0.1\n[noise]\nsigma_px = 1.0\n')
    evaluate._keep(card, {"pck_02": 0.25}, "real", "every 5th frame")
    evaluate._keep(card, {"pck_02": 0.2}, "coco", "people")
    text = card.read_text()
    assert text.count("real_pck_02") == 1 and "real_pck_02 = 0.25" in text
    assert 'real_measured = "every 5th frame"' in text and "coco_pck_02 = 0.2" in text and "held_out_pck_02" in text
    with pytest.raises(InputError, match="--keep needs the file of a card"):
        evaluate._keep(tmp_path / "none", {}, "real", "")


def test_people_of_a_data_set_are_judged_beside_another_detector(project_root, shared_data, tmp_path, capsys):
    """COCO's four sample pictures; BlazePose beside itself is as good as itself."""
    coco = shared_data / "calibration_fixtures" / "mmpose_testdata" / "tests" / "data" / "coco"
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_bytes((coco / "test_coco.json").read_bytes())
    (tmp_path / "images" / "val2017").symlink_to(coco)
    arguments = ["pictures", "blazepose", str(tmp_path), "--layout", "coco", "--beside", "blazepose"]
    assert evaluate.main([*arguments, "--provider", "cpu"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["pictures"] == 12 and scores["pck_02"] == scores["pck_02_of_blazepose"]
    assert 0.7 < scores["pck_02"] < 0.85
    assert evaluate.main([*arguments[:2], str(tmp_path / "no"), *arguments[3:]]) == 2
    assert "COCO's person keypoints" in capsys.readouterr().err
