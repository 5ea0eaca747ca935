"""The panel's take as a file that a solve reads."""

from pathlib import Path

import pytest
from sightline.addon.take_entry import TakeEntry, ViewEntry, take_file, write_take
from sightline.inference.take import read_take


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "Ünïcode ‘folder’ 🎬"
    (folder / "clips").mkdir(parents=True)
    for name in ("a b.mp4", "c.mp4"):
        (folder / "clips" / name).write_bytes(b"x")
    (tmp_path / "cams.toml").write_text("")
    return folder


def entry(folder: Path, **changes) -> TakeEntry:
    views = (
        ViewEntry('cam "1"', str(folder / "clips" / "a b.mp4"), "letterbox", 29.97, None),
        ViewEntry("cam2", str(folder / "clips" / "c.mp4"), offset_s=0.25),
    )
    values = {"calibration": {"source": str(folder.parent / "cams.toml"), "rotation_sigma_deg": 0.5}} | changes
    return TakeEntry("dance", views, **values)


def test_what_is_written_is_read(folder):
    path = write_take(entry(folder, persons=2, height_m=1.8, end_s=2.5, settings={"smoothness": 2.0}), folder)
    take = read_take(path)
    assert (take.name, take.persons, take.height_m, take.start_s, take.end_s) == ("dance", 2, 1.8, 0.0, 2.5)
    assert [view.name for view in take.views] == ['cam "1"', "cam2"]
    assert [view.offset_s for view in take.views] == [None, 0.25]
    assert (take.views[0].fit, take.views[0].fps, take.views[1].fps) == ("letterbox", 29.97, None)
    assert Path(take.views[0].video) == folder / "clips" / "a b.mp4"
    assert take.calibration.path == folder.parent / "cams.toml"
    assert take.calibration.rotation_sigma_deg == 0.5
    assert take.settings.motion.smoothness == 2.0


def test_take_and_videos_can_move_together(folder, tmp_path):
    path = write_take(entry(folder, calibration={"source": "self"}), folder)
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    assert Path(read_take(moved / path.name).views[1].video) == moved / "clips" / "c.mp4"


def test_board_and_lenses(folder):
    board = {"kind": "charuco", "columns": 7, "rows": 5, "square_m": 0.04, "marker_m": 0.03, "pictures": "x/%03d.png"}
    take = read_take(write_take(entry(folder, calibration={"source": "board"}, board=board), folder))
    assert take.calibration.board["columns"] == 7
    assert take.calibration.board["pictures"].endswith("x/%03d.png")


def test_ours_is_written_anew_and_nobody_else_s_is(folder):
    first = write_take(entry(folder), folder)
    assert write_take(entry(folder, persons=3), folder) == first
    assert read_take(first).persons == 3
    first.write_text("# by hand\n")
    second = write_take(entry(folder), folder)
    assert second.name == "dance 2.toml" and first.read_text() == "# by hand\n"
    first.write_bytes(b"\xff\xfe\x00")
    assert take_file(entry(folder), folder) == second


def test_takes_of_two_scenes_in_one_folder_are_two_files(folder):
    first, second = (write_take(entry(folder, project=project), folder) for project in ("aa", "bb"))
    assert (first.name, second.name) == ("dance.toml", "dance 2.toml")
    for project, path in (("aa", first), ("bb", second)):
        assert write_take(entry(folder, project=project), folder) == path and read_take(path).name == "dance"
    old = first.read_text(encoding="utf-8").replace("# Scene: aa\n", "")
    first.write_text(old, encoding="utf-8")  # of a version that did not say whose it is
    assert write_take(entry(folder, project="cc"), folder) == first
