"""Detections are kept: a cancelled solve goes on where it stopped, and its frames can be used as they are."""

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference import detection
from inference.detection import find_keypoints
from inference.errors import Cancelled, InputError
from inference.perception.kept_detections import cache_folder, keep_detections, kept_file, read_kept_detections
from inference.pipeline import cameras_of_views, solve
from inference.progress import Progress
from inference.take import Take, read_take
from inference.types import Keypoints2D, SolveReport
from inference.views import open_views

END_S = 0.3  # about ten frames


class Counting(Progress):
    """Counts steps, and cancels after some."""

    def __init__(self, cancel_after: int = 10**9) -> None:
        super().__init__()
        self.steps, self._cancel_after = 0, cancel_after

    def _advance(self, stage: str, done: int, total: int) -> None:
        self.steps = done
        if done >= self._cancel_after:
            self.cancel()


@pytest.fixture
def take(example_take: Path, blazepose_card: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Take:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "kept"))
    shutil.copytree(example_take.parent, tmp_path / "take")
    take = read_take(tmp_path / "take" / "take.toml")
    return replace(take, end_s=END_S)


def _find(take: Take, progress: Progress, so_far: bool = False) -> list[Keypoints2D]:
    opened, report = open_views(take), SolveReport(take.name)
    return find_keypoints(take, opened, cameras_of_views(take, opened, report).rig.lenses, report, progress, so_far)


def _same(first: list[Keypoints2D], second: list[Keypoints2D]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(np.array_equal(a.xy, b.xy, equal_nan=True) and np.array_equal(a.score, b.score) for a, b in pairs)


def test_a_cancelled_detection_goes_on_where_it_stopped(take: Take, tmp_path: Path) -> None:
    fresh = _find(replace(take, settings=_without_keeping(take)), Progress())
    assert not (tmp_path / "kept").exists(), "the setting keeps nothing"
    with pytest.raises(Cancelled):
        _find(take, Counting(cancel_after=10))
    kept = [np.load(path)["done"] for path in (tmp_path / "kept").iterdir()]
    assert 1 <= len(kept) <= 4 and sum(kept) >= 8
    assert _same(_find(take, Progress()), fresh)
    for path in (tmp_path / "take" / "videos").iterdir():  # nothing is decoded any more, but the files stand
        stamp = path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes()[:-1000] + bytes(1000))
        os.utime(path, ns=(stamp, stamp))
    counting = Counting()
    assert _same(_find(take, counting), fresh)
    assert counting.steps == sum(len(keypoints.timestamps_s) for keypoints in fresh)


def test_kept_detections_are_read_on_one_thread(take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11.7's parser, which reads the arrays' headers, fails where two threads parse."""
    readers = set()
    read = detection.read_kept_detections

    def noted(path: Path, joints: int, frames: int) -> object:
        readers.add(threading.current_thread())
        return read(path, joints, frames)

    monkeypatch.setattr(detection, "read_kept_detections", noted)
    _find(take, Progress())
    assert readers == {threading.main_thread()}


def test_another_video_is_detected_anew(take: Take, tmp_path: Path) -> None:
    before = _find(take, Progress())
    video = tmp_path / "take" / "videos" / "cam01.mp4"
    shutil.copy(tmp_path / "take" / "videos" / "cam03.mp4", video)
    assert not _same(_find(take, Progress())[:1], before[:1])


def test_what_was_detected_so_far_is_solved(take: Take, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        _find(take, Counting(cancel_after=32))
    solution = solve(take, tmp_path / "out", so_far=True)
    assert solution.solved.observed.mean() > 0.9
    assert 2 <= solution.solved.xyz.shape[0] <= 12
    assert "only the" in (tmp_path / "out" / "report.json").read_text()


def test_nothing_so_far_is_said(take: Take) -> None:
    with pytest.raises(InputError, match="no person found"):
        _find(take, Progress(), so_far=True)


def test_a_broken_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    assert read_kept_detections(path, 3, 9) is None
    path.write_bytes(b"PK\x03\x04 no archive")
    assert read_kept_detections(path, 3, 9) is None
    keep_detections(path, {"done": np.array(1)})
    assert read_kept_detections(path, 3, 9) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep_detections(tmp_path / "file" / "x.npz", {"done": np.array(1)})


def test_the_folder_and_its_names(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    footage = open_views(take)[0].footage
    assert footage is not None
    names = {kept_file(footage, span, settings) for span in ((0, 5), (0, 6)) for settings in ((1,), (2,))}
    assert len(names) == 4 and {name.parent for name in names} == {cache_folder()} == {tmp_path / "kept"}
    monkeypatch.delenv("SIGHTLINE_CACHE")
    assert cache_folder().name.lower() in ("sightline", "cache")


def _without_keeping(take: Take) -> object:
    return replace(take.settings, detection=replace(take.settings.detection, reuse_detections=False))


def test_detections_are_kept_on_the_way_for_a_process_may_be_killed(
    take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "KEEP_EVERY_S", 0.0)
    seen = []

    class Looking(Progress):
        def _advance(self, stage: str, done: int, total: int) -> None:
            seen.append(len(list(cache_folder().glob("*.npz"))))

    _find(take, Looking())
    assert seen[len(seen) // 2] > 0
