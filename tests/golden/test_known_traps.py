"""Traps of the real files that no other test meets on the files themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.files.calibration import read_calibration
from inference.files.openpose import read_openpose


def test_the_peers_calibration_has_lost_its_distortion(shared_data: Path) -> None:
    """Pose2Sim divides Qualisys' distortion by 64: noticed, and said."""
    folder = shared_data / "pose2sim_single" / "calibration"
    peer = read_calibration(folder / "Calib_peer.toml")
    assert any("divided by 64" in warning for warning in peer.warnings)
    right = read_calibration(folder / "Calib.qca.txt")
    assert not any("64" in warning for warning in right.warnings)
    for name, camera in right.cameras.items():
        assert abs(camera.intrinsics.distortion[0]) > 0.01
        ratio = camera.intrinsics.distortion[0] / peer.cameras[name.replace("cam", "cam_")].intrinsics.distortion[0]
        np.testing.assert_allclose(ratio, 64, rtol=1e-5)


def test_caliscope_writes_matrices_and_pose2sim_vectors(shared_data: Path) -> None:
    """Both dialects give cameras that look at their scene: what they see in common lies in front of all of them."""
    for path, middle in (
        ("desk_charuco/camera_array.toml", None),
        ("pose2sim_single/calibration/Calib_peer.toml", (-0.94, -0.02, 0.59)),
    ):
        cameras = read_calibration(shared_data / path).cameras
        assert len(cameras) == 4
        axes, centres = np.array([c.R[2] for c in cameras.values()]), np.array([c.centre for c in cameras.values()])
        across = np.eye(3) - axes[:, :, None] * axes[:, None]
        meet = np.linalg.solve(across.sum(axis=0), (across @ centres[..., None]).sum(axis=0))[:, 0]
        assert (((meet - centres) * axes).sum(axis=1) > 0).all()
        if middle is not None:
            np.testing.assert_allclose(meet, middle, atol=0.02)


def test_keypoints_of_another_size_need_to_say_so(shared_data: Path) -> None:
    """The JSON of camera 1 counts in the 1088 px wide original: said to be so, it moves by the letterbox."""
    folder = shared_data / "pose2sim_single" / "openpose_body25b" / "cam01_json"
    plain = read_openpose(folder, "body_25b", "cam01", 60.0, (1080, 1920))
    moved = read_openpose(folder, "body_25b", "cam01", 60.0, (1080, 1920), (1088, 1920), "letterbox")
    scale = 1080 / 1088
    wanted = (plain.xy + 0.5) * scale - 0.5 + [0, (1920 - scale * 1920) / 2]
    np.testing.assert_allclose(moved.xy, wanted, atol=1e-9)
