"""Progress is told, counted over threads, and can be stopped."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.errors import Cancelled
from inference.progress import BarProgress, JsonProgress, Progress


def test_json_lines_end_at_the_total() -> None:
    stream = io.StringIO()
    assert list(JsonProgress(stream).track("detect", range(7), 7)) == list(range(7))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[0] == {"stage": "detect", "done": 0, "total": 7, "seconds_left": None}
    assert (lines[-1]["done"], lines[-1]["seconds_left"]) == (7, 0.0)


def test_without_a_terminal_a_stage_is_one_line() -> None:
    stream = io.StringIO()
    list(BarProgress(stream).track("detect", range(100), 100))
    assert stream.getvalue() == "detect …\n"


def test_stderr_without_a_terminal_is_left_to_errors(capsys: pytest.CaptureFixture[str]) -> None:
    list(BarProgress().track("detect", range(3), 3))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("detect …\n", "")


def test_on_a_terminal_there_is_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    list(BarProgress(stream).track("detect", range(3), 3))
    assert "detect" in stream.getvalue()
    assert "3" in stream.getvalue()


def test_cancelling_stops_at_the_next_item() -> None:
    progress, seen = Progress(), []
    with pytest.raises(Cancelled):
        for item in progress.track("detect", range(10), 10):
            seen.append(item)
            if item == 3:
                progress.cancel()
    assert seen == [0, 1, 2, 3]


def test_steps_of_several_threads_are_all_counted() -> None:
    stream = io.StringIO()
    with JsonProgress(stream).stage("detect", 400) as advance, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: advance(), range(400)))
    assert json.loads(stream.getvalue().splitlines()[-1])["done"] == 400
