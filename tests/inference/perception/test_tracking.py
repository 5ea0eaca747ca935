"""Tracking: slots stay with their person, lost people end, newcomers are found, memory holds no pictures."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inference.config import DetectionSettings
from inference.errors import InputError
from inference.perception.detector import load_detector
from inference.perception.person import similarity
from inference.perception.tracking import follow_people
from inference.types import Keypoints2D
from tests.inference.perception.dot_people import joints_at, picture, write_networks

# Boxes everywhere a person may stand, so that the box network finds whoever is there.
BOXES = np.array([[x, y, x + 60, y + 110] for y in (5, 65, 125) for x in range(0, 261, 40)], dtype=float)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path))
    write_networks(tmp_path, BOXES, np.full(len(BOXES), 0.9))
    return tmp_path


def follow(paths: list[list[np.ndarray]], fps: float = 30.0, **settings: int) -> Keypoints2D:
    """Follow people through frames; ``paths[frame]`` holds the joints of who is in it."""
    chosen = DetectionSettings(detector="dots", **{"max_people": 40, **settings})

    def frames() -> Iterator[tuple[int, np.ndarray]]:
        for number, people in enumerate(paths):
            yield number, picture(people)

    return follow_people("cam", frames(), np.arange(len(paths)) / fps, load_detector(chosen), chosen)


def who(keypoints: Keypoints2D, paths: list[list[np.ndarray]]) -> list[set[int]]:
    """For each slot the people that it stood on, each frame's being the most similar one."""
    seen: list[set[int]] = [set() for _ in range(keypoints.xy.shape[1])]
    for frame, slot in zip(*np.nonzero(keypoints.observed.any(axis=2)), strict=True):
        alike = [similarity(keypoints.xy[frame, slot], joints) for joints in paths[frame]]
        assert max(alike) > 0.5, f"frame {frame}, slot {slot} stands on nobody"
        seen[slot].add(int(np.argmax(alike)))
    return seen


def test_two_people_keep_their_slots_while_they_pass_each_other(models: Path) -> None:
    """Two walkers, 3 px a frame in opposite directions, one behind the other."""
    paths = [[joints_at(60 + 3 * i, 25, 80), joints_at(260 - 3 * i, 120, 100)] for i in range(60)]
    result = follow(paths)
    assert result.xy.shape == (60, 2, 17, 2)
    assert result.observed.all()
    assert sorted(who(result, paths), key=min) == [{0}, {1}]


def test_a_slot_ends_where_its_person_is_replaced_by_another(models: Path) -> None:
    """Person 1 appears where a tracker that only looks at the last region would take it for person 0."""
    here, there = joints_at(100, 60, 100), joints_at(145, 60, 100)
    absent = np.full((17, 2), -1000.0)
    paths = [[here, absent] if i < 10 else [absent, there] for i in range(20)]
    result = follow(paths)
    assert result.xy.shape[1] == 2
    assert sorted(who(result, paths), key=min) == [{0}, {1}]


def test_someone_who_comes_later_is_found_at_the_next_look(models: Path) -> None:
    stays, late = joints_at(80, 60, 110), joints_at(220, 60, 110)
    paths = [[stays] if i < 5 else [stays, late] for i in range(25)]
    result = follow(paths, redetect_every=10)
    observed = result.observed.any(axis=2)
    np.testing.assert_array_equal(observed[:, 0], True)
    np.testing.assert_array_equal(observed[:, 1], np.arange(25) >= 10)


def test_a_person_who_comes_back_soon_keeps_the_slot(models: Path) -> None:
    """Six frames without the person are NaN; the next frame with nobody followed finds it again."""
    joints = joints_at(150, 60, 110)
    paths = [[] if 8 <= i < 14 else [joints] for i in range(24)]
    result = follow(paths)
    assert result.xy.shape[1] == 1
    np.testing.assert_array_equal(result.observed.all(axis=2)[:, 0], [not 8 <= i < 14 for i in range(24)])
    assert np.isnan(result.xy[10]).all()
    assert (result.score[10] == 0).all()


def test_a_person_who_comes_back_late_gets_a_new_slot(models: Path) -> None:
    joints = joints_at(150, 60, 110)
    paths = [[] if 5 <= i < 12 else [joints] for i in range(16)]
    assert follow(paths, fps=5.0).xy.shape[1] == 2


def test_a_false_alarm_of_one_frame_is_no_track(models: Path) -> None:
    paths = [[joints_at(80, 60, 110)]] + [[] for _ in range(9)]
    assert follow(paths).xy.shape[1] == 0


def test_nobody_gives_no_slots(models: Path) -> None:
    result = follow([[] for _ in range(4)])
    assert result.xy.shape == (4, 0, 17, 2)
    assert result.view == "cam"


def test_no_more_people_than_asked(models: Path) -> None:
    paths = [[joints_at(60, 25, 100), joints_at(220, 60, 110)]] * 5
    assert follow(paths, max_people=1).xy.shape[1] == 1


@pytest.mark.parametrize(("times", "message"), [(6, "ends after 4 of 6 frames"), (3, "more frames than the 3 times")])
def test_frames_and_times_must_agree(models: Path, times: int, message: str) -> None:
    settings = DetectionSettings(detector="dots")
    frames = ((i, picture([])) for i in range(4))
    with pytest.raises(InputError, match=f"view 'cam'.*{message}"):
        follow_people("cam", frames, np.arange(times) / 30, load_detector(settings), settings)


def test_memory_does_not_hold_pictures(models: Path) -> None:
    """60 frames of 230 kB are 14 MB; the keypoints of as many must stay below a fifth of that."""
    settings = DetectionSettings(detector="dots")
    detector = load_detector(settings)
    people = [joints_at(80, 60, 110)]

    def peak(count: int) -> int:
        tracemalloc.start()
        follow_people("cam", ((i, picture(people)) for i in range(count)), np.arange(count) / 30, detector, settings)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(70) - peak(10) < 0.2 * 60 * picture([]).nbytes
