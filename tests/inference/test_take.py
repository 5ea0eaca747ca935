"""Takes: what is read, and every refusal by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.files.camera_table import Distance
from inference.take import read_take

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

FULL = """
[take]
name = "balancing"
persons = 1
height_m = 1.80
start = 0.5
end = 1.5
fps = 60

[calibration]
source = "cams.toml"
intrinsics = "lenses.toml"
units = "mm"
rotation_sigma_deg = 0.1
centre_sigma_m = 0.002
floor = "auto"

[[view]]
name = "cam01"
video = "cam01.mp4"
keypoints = "openpose/cam01"
keypoint_layout = "body_25b"
keypoint_size = [1088, 1920]
fit = "letterbox"
offset_s = 0.25

[[view]]
name = "Käfig 2"
keypoints = "openpose/cam01"
keypoint_layout = "coco_17"
fps = 29.97
size = [640, 480]
offset_s = "auto"

[[view]]
name = "frames"
video = "frames/%06d.png"
fps = 25

[solve]
min_score = 0.2
"""


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """A folder that holds every file FULL names."""
    for name in ("cams.toml", "lenses.toml", "cam01.mp4"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "openpose" / "cam01").mkdir(parents=True)
    (tmp_path / "frames").mkdir()
    return tmp_path


def write(folder: Path, text: str, name: str = "take.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_is_read(folder: Path) -> None:
    take = read_take(write(folder, FULL))
    assert (take.name, take.persons, take.height_m) == ("balancing", 1, 1.80)
    assert (take.start_s, take.end_s, take.fps) == (0.5, 1.5, 60.0)
    source = take.calibration
    assert source.path == folder / "cams.toml" and source.intrinsics == folder / "lenses.toml"
    assert (source.units, source.rotation_sigma_deg, source.centre_sigma_m) == ("mm", 0.1, 0.002)
    assert source.floor == "auto"
    first, second, third = take.views
    assert first.video == str(folder / "cam01.mp4") and first.keypoints == folder / "openpose" / "cam01"
    assert (first.keypoint_layout, first.keypoint_size, first.fit) == ("body_25b", (1088, 1920), "letterbox")
    assert first.offset_s == 0.25 and first.fps is None
    assert (second.name, second.video, second.fps, second.size) == ("Käfig 2", None, 29.97, (640, 480))
    assert second.offset_s is None and second.fit == "exact"
    assert third.video == str(folder / "frames" / "%06d.png") and third.offset_s == 0.0
    assert take.settings.triangulation.min_score == 0.2


def test_paths_do_not_depend_on_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, FULL)
    monkeypatch.chdir(folder)
    take = read_take(Path("take.toml"))
    assert take.path == folder / "take.toml" and take.calibration.path == folder / "cams.toml"


def test_defaults(folder: Path) -> None:
    text = (
        '[calibration]\nsource = "self"\n[[view]]\nname="a"\nvideo="cam01.mp4"\n[[view]]\nname="b"\nvideo="cam01.mp4"'
    )
    take = read_take(write(folder, text))
    assert take.name == folder.name and take.persons == 1 and take.calibration.path is None
    assert (take.height_m, take.start_s, take.end_s, take.fps) == (None, 0.0, None, None)
    assert take.calibration.floor == "keep" and take.calibration.rotation_sigma_deg is None
    assert read_take(write(folder, text, "Läufer.toml")).name == "Läufer"


def test_a_model_card_lies_relative_to_the_take(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (folder / "cards").mkdir()
    (folder / "cards" / "my.toml").write_text("")
    take = read_take(write(folder, FULL.replace("min_score = 0.2", 'detector = "cards/my.toml"')))
    assert take.settings.detection.detector == str(folder / "cards" / "my.toml")
    assert read_take(write(folder, FULL)).settings.detection.detector == "blazepose"


def test_a_measured_distance_is_read(folder: Path) -> None:
    text = FULL.replace('units = "mm"', 'distance_m = 3.5\ndistance_between = ["cam01", "frames"]')
    assert read_take(write(folder, text)).calibration.distance == Distance("cam01", "frames", 3.5)


def test_a_byte_order_mark_is_no_error(folder: Path) -> None:
    path = folder / "take.toml"
    path.write_bytes(b"\xef\xbb\xbf" + FULL.encode())
    assert read_take(path).name == "balancing"


def test_overrides_win_over_the_file(folder: Path) -> None:
    path = write(folder, FULL)
    settings_read = read_take(path, {"min_score": "0.4", "provider": "cpu", "detector": '"my model"'}).settings
    assert settings_read.triangulation.min_score == 0.4
    assert (settings_read.detection.provider, settings_read.detection.detector) == ("cpu", "my model")
    staged = write(folder, FULL.replace("[solve]", "[solve.triangulation]"))
    assert read_take(staged, {"min_score": "0.4"}).settings.triangulation.min_score == 0.4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"min_scor": "0.4"}, "did you mean 'min_score'"),
        ({"min_score": "high"}, "min_score must be a number"),
        ({"min_score": "[1"}, "not a TOML value"),
        ({"min_score": "1\nother = 2"}, "not a TOML value"),
    ],
)
def test_wrong_overrides(folder: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_take(write(folder, FULL), overrides)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[take]", "[tkae]", r"unknown table \[tkae\]; did you mean 'take'"),
        ("persons = 1", "person = 1", "unknown key 'person'; did you mean 'persons'"),
        ("persons = 1", "persons = -1", "persons = -1 is out of range"),
        ("persons = 1", "persons = 1.5", "persons must be a whole number, not 1.5"),
        ("height_m = 1.80", "height_m = 180", "no person's height"),
        ("height_m = 1.80", "height_m = nan", "height_m is not a number"),
        ("end = 1.5", "end = 0.5", "end = 0.5 must come after start = 0.5"),
        ("end = 1.5", "end = inf", "end must be finite"),
        ("fps = 60", "fps = 0", "fps = 0 is out of range"),
        ('name = "balancing"', 'name = "../up"', "cannot name a folder"),
        ('source = "cams.toml"', "", "source is missing"),
        ('source = "cams.toml"', 'source = "none.toml"', "none.toml does not exist"),
        ('source = "cams.toml"', 'source = "a\\nb"', "is not a path"),
        ('intrinsics = "lenses.toml"', 'intrinsics = "no.toml"', "intrinsics: .*no.toml does not exist"),
        ('units = "mm"', 'units = "inch"', "units = 'inch' is unknown; known: cm, m, mm"),
        ('floor = "auto"', 'floor = "up"', "floor = 'up' is unknown"),
        ('units = "mm"', "distance_m = 3.0", "distance_m = 3.42 with distance_between"),
        ('units = "mm"', 'units = "mm"\ndistance_m = 3.0\ndistance_between = ["a", "b"]', "without units"),
        ('units = "mm"', 'distance_m = -3.0\ndistance_between = ["a", "b"]', "distance_m = -3 is out of range"),
        ('units = "mm"', 'points = "cams.toml"', 'source = "points" and points = .* belong together'),
        ("min_score = 0.2", 'detector = "cards/my.toml"', r"\[solve\] detector: .*my.toml does not exist"),
        ('units = "mm"', "focal_sigma = 0.1", r"focal_sigma is for source = \"self\""),
        ('source = "cams.toml"', 'source = "self"\nfocal_sigma = 3', "focal_sigma = 3 is out of range"),
        ("rotation_sigma_deg = 0.1", "rotation_sigma_deg = -0.1", "rotation_sigma_deg = -0.1 is out of range"),
        ("centre_sigma_m = 0.002", "centre_sigma_m = nan", "centre_sigma_m is not a number"),
        ('name = "cam01"', 'name = "frames"', "view 'frames' stands twice"),
        ('name = "cam01"', "", "name is missing"),
        ('video = "cam01.mp4"', 'video = "cam09.mp4"', "view 'cam01': video: .*cam09.mp4 does not exist"),
        ('video = "frames/%06d.png"', 'video = "gone/%06d.png"', "view 'frames': folder of the image sequence"),
        ('keypoints = "openpose/cam01"\nkeypoint_layout = "coco_17"', "", "neither video nor keypoints"),
        ('keypoint_layout = "body_25b"\n', "", "view 'cam01': keypoints need keypoint_layout"),
        ('"body_25b"', '"body_26"', "unknown keypoint layout 'body_26'"),
        ("fps = 29.97\n", "", "view 'Käfig 2' has keypoints but no video, so it must say its rate"),
        (
            'fit = "letterbox"',
            'fit = "letterbx"',
            "fit = 'letterbx' is unknown; did you mean 'letterbox'",
        ),
        ("offset_s = 0.25", "offset_s = nan", "offset_s is not a number"),
        ("offset_s = 0.25", 'offset_s = "later"', "offset_s must be a number of seconds"),
        ("size = [640, 480]", "size = [640, 0]", "no picture size"),
        ("size = [640, 480]", "size = [640]", "size must be a list of 2 values"),
        ("size = [640, 480]", "sise = [640, 480]", "did you mean 'size'"),
        ("[[view]]", "[[views]]", "did you mean 'view'"),
        ("min_score = 0.2", "min_skore = 0.2", "did you mean 'min_score'"),
        ("persons = 1", "persons = ", "not valid TOML: .*line 4"),
    ],
)
def test_refusals(folder: Path, old: str, new: str, message: str) -> None:
    assert old in FULL
    with pytest.raises(InputError, match=message) as caught:
        read_take(write(folder, FULL.replace(old, new, 1) if old != "[[view]]" else FULL.replace(old, new)))
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_files_that_are_no_takes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_take(tmp_path / "take.toml")
    with pytest.raises(InputError, match="is a folder"):
        read_take(tmp_path)
    (tmp_path / "take.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_take(tmp_path / "take.toml")
    (tmp_path / "take.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(InputError, match="not valid TOML"):
        read_take(tmp_path / "take.toml")


def test_too_few_views(folder: Path) -> None:
    head = '[calibration]\nsource = "self"\n'
    with pytest.raises(InputError, match=r"no \[\[view\]\]"):
        read_take(write(folder, head))
    with pytest.raises(InputError, match=r"must be written \[\[view\]\]"):
        read_take(write(folder, head + '[view]\nname = "a"\n'))
    with pytest.raises(InputError, match="at least two"):
        read_take(write(folder, head + '[[view]]\nname="a"\nvideo="cam01.mp4"\n'))


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, len(FULL)),
    length=st.integers(0, 12),
    insert=st.text(max_size=6) | st.sampled_from(["nan", "-1", "[]", "{}", '"', "=", "\n", "1e999", "[[view]]"]),
)
def test_mutated_takes_raise_only_our_errors(folder: Path, position: int, length: int, insert: str) -> None:
    text = FULL[:position] + insert + FULL[position + length :]
    path = folder / "fuzz.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_take(path)
    except SolveError as problem:
        assert "\n" not in str(problem)
