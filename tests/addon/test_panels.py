"""What drawing the panels costs: nothing is read, listed or computed in a draw, which runs at every redraw."""

import inspect
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest
from sightline import addon
from sightline.addon.panels import export as files
from sightline.inference.files.solution import read_solution


class Nowhere:
    """A layout that draws nothing: Blender has none without a window."""

    def __getattr__(self, name):
        return lambda *_arguments, **_options: Nowhere()


class Shown:
    """A panel of a class, on a layout that draws nothing; Blender makes none without a window."""

    def __init__(self, each):
        self.layout, self._each = Nowhere(), each

    def __getattr__(self, name):
        return getattr(self._each, name).__get__(self)


def panels():
    """Our panels of the sidebar that are shown now."""
    ours = [each for each in addon.CLASSES if issubclass(each, bpy.types.Panel)]
    return [each for each in ours if getattr(each, "poll", lambda _: True)(bpy.context)]


def work_of(each):
    """Count what is called while a panel is drawn, by file; the layout's own calls aside."""
    counts = Counter()

    def count(frame, event, _argument):
        if event in ("call", "c_call") and frame.f_code.co_filename != __file__:
            counts[frame.f_code.co_filename] += 1

    sys.setprofile(count)
    try:
        each.draw(Shown(each), bpy.context)
    finally:
        sys.setprofile(None)
    return counts


def all_work():
    return {each.__name__: sum(work_of(each).values()) for each in panels()}


@pytest.fixture
def drawn(take):
    """A scene with a solved take, every panel drawn once: what is read once has been read."""
    for each in panels():
        work_of(each)
    return take


def test_drawing_all_panels_is_little_work(drawn):
    """A call costs about a microsecond: all panels together stay below the 2 ms that they may take."""
    work = all_work()
    assert {"SIGHTLINE_PT_files", "SIGHTLINE_PT_views", "SIGHTLINE_PT_fix"} <= set(work)
    assert sum(work.values()) < 1500, work


def test_a_scene_full_of_other_things_costs_nothing(drawn):
    before = all_work()
    for number in range(300):
        bpy.context.scene.collection.objects.link(bpy.data.objects.new(f"prop {number}", None))
    assert all_work() == before


def test_work_in_a_draw_would_be_seen(drawn, monkeypatch):
    """Negative controls: what the export panel once did, and reading a solution."""
    monkeypatch.setattr(files, "missing_exporter", lambda _: "" if "fbx" in dir(bpy.ops.export_scene) else "x")
    assert sum(all_work().values()) > 1500
    solution = Path(bpy.context.scene.sightline.solution_path)
    monkeypatch.setattr(files, "missing_exporter", lambda _: str(read_solution(solution))[:0])
    assert sum(all_work().values()) > 1500


ARGUMENTS = ("self", "context", "layout", "data", "item", "icon", "active_data", "active_property", "index", "flt_flag")


def misplaced(each):
    """What a list's drawing takes in another place than Blender gives it: it counts its arguments, not their names."""
    taken = [name.lstrip("_") for name in inspect.signature(each.draw_item).parameters]
    return [name for place, name in enumerate(taken) if name in ARGUMENTS and ARGUMENTS[place] != name]


def test_lists_are_given_what_they_ask_for():
    lists = [each for each in addon.CLASSES if issubclass(each, bpy.types.UIList)]
    assert len(lists) >= 4
    assert not {each.__name__: misplaced(each) for each in lists if misplaced(each)}


def test_an_argument_too_few_would_be_seen():
    """Negative control: so the list of gaps was drawn, and its index was the name of a property."""
    wrong = SimpleNamespace(draw_item=lambda self, _context, layout, _data, item, _icon, _active, index: None)
    assert misplaced(wrong) == ["index"]
