"""BlazePose on real footage: agreement with an independent run, sides, bystanders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from inference.config import DetectionSettings
from inference.footage import open_footage, read_frames
from inference.perception.detector import load_detector
from inference.perception.tracking import follow_people
from inference.types import Keypoints2D

FRAMES = 20


@pytest.fixture(scope="module")
def tracks(shared_data: Path, blazepose_card: object) -> dict[str, Keypoints2D]:
    """The first frames of all views."""
    settings = DetectionSettings(provider="cpu")
    detector = load_detector(settings)

    def followed(name: str) -> Keypoints2D:
        footage = open_footage(name, str(shared_data / "pose2sim_single" / "videos" / f"{name}.mp4"))
        frames: Iterator[tuple[int, np.ndarray]] = islice(read_frames(footage, stop=FRAMES), FRAMES)
        return follow_people(name, frames, footage.timestamps_s[:FRAMES], detector, settings)

    return {name: followed(name) for name in ("cam01", "cam02", "cam03", "cam04")}


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> dict[str, np.ndarray]:
    """(frames, 33, 3) x, y, visibility of another BlazePose run by view."""
    with np.load(shared_data / "blazepose_2d" / "mp_blazepose.npz") as file:
        return {key.split("|")[-1].removesuffix(".mp4"): file[key] for key in file if "Pose2Sim" in key}


@pytest.mark.parametrize("view", ["cam01", "cam02", "cam03", "cam04"])
def test_the_actor_is_followed_and_agrees_with_another_run(
    tracks: dict[str, Keypoints2D], reference: dict[str, np.ndarray], view: str
) -> None:
    """One track stands on the actor in every frame. Both runs use these networks, the other with smoothing and
    another region: over all 100 frames the medians are 7 to 9 px of an 800 px tall person."""
    apart = np.linalg.norm(tracks[view].xy - reference[view][:FRAMES, None, :, :2], axis=-1)
    actor = int(np.nanmedian(apart, axis=(0, 2)).argmin())
    assert tracks[view].observed[:, actor].all()
    assert np.median(apart[:, actor]) < 12


@pytest.mark.parametrize(("view", "facing"), [("cam01", 1), ("cam02", 1), ("cam03", -1), ("cam04", -1)])
def test_left_is_the_subjects_own(tracks: dict[str, Keypoints2D], view: str, facing: int) -> None:
    """Seen from the front the left shoulder is on the image's right, seen from behind on its left."""
    names = tracks[view].joint_names
    left, right = (tracks[view].xy[:, 0, names.index(f"{side}_shoulder"), 0] for side in ("left", "right"))
    assert (np.sign(left - right) == facing).mean() > 0.9
