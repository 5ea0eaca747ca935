"""The clock that the views of a take share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.config import SolveSettings
from inference.errors import InputError
from inference.take import CalibrationSource, Take, View
from inference.types import Footage, Keypoints2D
from inference.views import OpenedView, first_moment, frame_range, open_views, take_clock


def opened(name: str, frames: int, fps: float = 60.0, offset_s: float | None = 0.0) -> OpenedView:
    view = View(name, f"{name}.mp4", None, None, None, offset_s=offset_s)
    return OpenedView(view, Footage(name, (Path(f"{name}.mp4"),), (640, 480), fps, np.arange(frames) / fps))


def take_of(views: list[OpenedView], **changes: object) -> Take:
    values: dict = {"start_s": 0.0, "end_s": None, "fps": None} | changes
    return Take(
        path=Path("take.toml"),
        name="t",
        persons=1,
        height_m=None,
        calibration=CalibrationSource(Path("cameras.toml")),
        views=tuple(item.view for item in views),
        settings=SolveSettings(),
        **values,
    )


def tracks(item: OpenedView) -> Keypoints2D:
    assert item.footage is not None
    times = item.footage.timestamps_s
    shape = (len(times), 1, 1)
    return Keypoints2D(item.name, ("nose",), times, np.zeros((*shape, 2)), np.zeros((*shape, 2, 2)), np.ones(shape))


def clock(views: list[OpenedView], **changes: object) -> np.ndarray:
    return take_clock(take_of(views, **changes), views, [tracks(item) for item in views])


def test_equal_views_give_one_time_per_frame() -> None:
    times = clock([opened("a", 100), opened("b", 100)])
    np.testing.assert_allclose(times, np.arange(100) / 60, atol=1e-12)


def test_container_rounding_loses_no_frame() -> None:
    views = [opened("a", 100), opened("b", 100)]
    rounded = [
        OpenedView(v.view, replace(v.footage, timestamps_s=np.round(v.footage.timestamps_s, 3)))  # ms time base
        for v in views
        if v.footage
    ]
    assert len(clock(rounded)) == 100


def test_the_solution_runs_while_two_views_run() -> None:
    times = clock([opened("a", 60), opened("b", 120), opened("c", 300)])
    assert times[-1] == pytest.approx(119 / 60)


def test_a_late_view_counts_from_its_offset() -> None:
    times = clock([opened("a", 120), opened("b", 120, offset_s=0.5)])
    assert times[0] == pytest.approx(0.5)
    assert times[-1] == pytest.approx(119 / 60)


def test_rate_is_the_highest_of_the_views_unless_given() -> None:
    views = [opened("a", 61, fps=30), opened("b", 121, fps=60)]
    assert np.diff(clock(views)) == pytest.approx(1 / 60)
    assert np.diff(clock(views, fps=24.0)) == pytest.approx(1 / 24)


def test_start_and_end_limit_the_take() -> None:
    times = clock([opened("a", 100), opened("b", 100)], start_s=0.5, end_s=1.0)
    assert (times[0], times[-1]) == (pytest.approx(0.5), pytest.approx(1.0))


def test_views_that_never_overlap_are_refused_with_their_spans() -> None:
    with pytest.raises(InputError, match=r"a 0\.00-0\.98 s, b 9\.00-9\.98 s"):
        clock([opened("a", 60), opened("b", 60, offset_s=9.0)])


def test_frame_range_keeps_a_frame_on_either_side() -> None:
    item = opened("a", 100)
    assert frame_range(take_of([item]), item) == (0, 100)
    assert frame_range(take_of([item], start_s=0.5, end_s=1.0), item) == (29, 62)


def test_a_view_outside_the_take_is_named() -> None:
    item = opened("a", 60)
    with pytest.raises(InputError, match=r"view 'a': no frame lies between start = 5 s"):
        frame_range(take_of([item], start_s=5.0), item)


def test_a_view_whose_offset_is_to_be_found_is_read_as_a_whole() -> None:
    item = opened("b", 60, offset_s=None)
    assert open_views(take_of([])) == []
    assert item.offset_s == 0
    assert frame_range(take_of([item], start_s=0.5, end_s=0.6), item) == (0, 60)


def test_a_found_clock_places_a_view_and_a_given_offset_wins() -> None:
    item = replace(opened("b", 61, offset_s=None), found_offset_s=0.5, drift_ppm=1e5)
    np.testing.assert_allclose(item.on_take_clock(np.array([0.0, 1.0])), [0.5, 1.6])
    assert clock([opened("a", 600), item])[[0, -1]] == pytest.approx([0.5, 1.6])
    assert replace(opened("c", 10, offset_s=2.0), found_offset_s=7.0).offset_s == 2.0


def test_times_are_those_in_which_two_views_run() -> None:
    """Views of 1 s: the first has ended when the others, half a second apart, begin."""
    views = [opened(name, 61, offset_s=offset) for name, offset in (("a", 0.0), ("b", 5.0), ("c", 5.5))]
    assert clock(views)[[0, -1]] == pytest.approx([5.5, 6.0])


@pytest.mark.parametrize("offsets", [(0.0, 5.0), (0.0, 5.0, 10.0, 15.0)])
def test_views_that_never_run_together_are_refused(offsets: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="no two views run at the same time"):
        clock([opened(f"v{offset:g}", 60, offset_s=offset) for offset in offsets])


def test_start_and_end_that_leave_nothing_are_named() -> None:
    with pytest.raises(InputError, match=r"start and end .* two views run from 0\.00 s to 0\.98 s"):
        clock([opened("a", 60), opened("b", 60)], start_s=3.0, end_s=4.0)


def test_the_first_moment_is_known_before_anything_is_detected() -> None:
    views = [opened("a", 100), opened("b", 100, offset_s=0.312), opened("c", 100, fps=50.0, offset_s=0.2)]
    spans = [(item.offset_s, item.offset_s + 99 / item.fps) for item in views]
    for start, fps in ((0.0, 60.0), (0.5, 60.0), (0.0, 25.0)):
        assert first_moment(spans, start, fps) == clock(views, start_s=start, fps=fps)[0]
    assert first_moment(spans, 0.0, 60.0) == pytest.approx(0.2)  # two views run
    assert first_moment([(0.0, 1.0), (2.0, 3.0)], 0.0, 60.0) == 0.0  # the solve says that no two do
