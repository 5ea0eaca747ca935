"""Footage: every frame is the right one, at its real time; broken files end in one line."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.footage import nearest_frames, open_footage, read_frame, read_frames

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
CELLS = 8  # the frame number stands in the picture as 8 black or white fields


def picture(number: int, width: int = 128, height: int = 64) -> np.ndarray:
    """(h, w, 3) the number in binary, most significant field at the left of the upper half; the lower half is grey."""
    image = np.full((height, width, 3), 128, np.uint8)
    for bit in range(CELLS):
        left, right = bit * width // CELLS, (bit + 1) * width // CELLS
        image[: height // 2, left:right] = 255 * ((number >> (CELLS - 1 - bit)) & 1)
    return image


def number_in(image: np.ndarray) -> int:
    height, width = image.shape[:2]
    centres = (np.arange(CELLS) + 0.5) * width / CELLS
    bits = image[height // 4, centres.astype(int), 1] > 127
    return int("".join("1" if bit else "0" for bit in bits), 2)


def write_video(
    path: Path,
    ticks: Sequence[int],
    codec: str = "libx264",
    rate: int = 30,
    time_base: Fraction = Fraction(1, 30),
    gop: int = 12,
    turn: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a counted video whose frame i is shown at ``ticks[i] * time_base``."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = gop
        if turn:
            stream.set_display_rotation(turn)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of H.264 with B frames and several keyframes, 30/s."""
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", range(40), options={"bf": "2"})


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx264", ".mp4"), ("libx264", ".mkv"), ("mpeg4", ".mp4"), ("mpeg4", ".avi"), ("libvpx-vp9", ".mp4")],
)
def test_every_frame_is_the_right_one(tmp_path: Path, codec: str, suffix: str) -> None:
    footage = open_footage("cam", str(write_video(tmp_path / f"käfig{suffix}", range(30), codec)))
    assert footage.image_size == (128, 64) and footage.fps == pytest.approx(30, rel=2e-3)
    np.testing.assert_allclose(footage.timestamps_s, np.arange(30) / 30, atol=6e-4)  # mkv counts milliseconds
    frames = list(read_frames(footage))
    assert [number for number, _ in frames] == list(range(30))
    assert [number_in(image) for _, image in frames] == list(range(30))
    assert frames[0][1].dtype == np.uint8 and frames[0][1].shape == (64, 128, 3)


@pytest.mark.parametrize(("start", "stop", "step"), [(0, 40, 7), (13, 40, 1), (23, 24, 1), (25, 39, 5), (39, 40, 1)])
def test_parts_by_seeking(video: Path, start: int, stop: int, step: int) -> None:
    frames = list(read_frames(open_footage("cam", str(video)), start, stop, step))
    assert [n for n, _ in frames] == list(range(start, stop, step))
    assert [number_in(image) for _, image in frames] == list(range(start, stop, step))


def test_single_frames_in_any_order(video: Path) -> None:
    footage = open_footage("cam", str(video))
    for index in (31, 0, 12, 11, 39):
        assert number_in(read_frame(footage, index)) == index


def test_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((64, 128, 3), np.uint8)
    red[..., 0] = 200
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode(None))
    image = read_frame(open_footage("cam", str(tmp_path / "red.mp4")), 1)
    np.testing.assert_allclose(image.mean((0, 1)), [200, 0, 0], atol=4)


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    ticks = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14]
    path = write_video(tmp_path / "v.mp4", ticks, options={"bf": "0"})
    footage = open_footage("cam", str(path))
    np.testing.assert_allclose(footage.timestamps_s, np.array(ticks) / 30, atol=1e-4)
    assert footage.fps == pytest.approx(30, rel=1e-3)  # the median; the mean would be 19.3
    assert [number_in(image) for _, image in read_frames(footage, 5)] == [5, 6, 7, 8, 9]


def test_the_first_frame_is_time_zero(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mkv", range(100, 120))
    footage = open_footage("cam", str(path))
    assert footage.timestamps_s[0] == 0 and len(footage.timestamps_s) == 20
    assert number_in(read_frame(footage, 15)) == 15


def test_an_edit_list_hides_frames(tmp_path: Path) -> None:
    """The list is made to begin five frames into the track: those are kept in the file but not shown."""
    path = write_video(tmp_path / "e.mp4", range(30), options={"bf": "0"}, gop=10)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 8  # behind the name: version and flags; then count, duration, media time
    assert int.from_bytes(data[at : at + 4], "big") == 1 and int.from_bytes(data[at + 8 : at + 12], "big") == 0
    timescale_at = data.index(b"mdhd") + 16
    timescale = int.from_bytes(data[timescale_at : timescale_at + 4], "big")
    data[at + 8 : at + 12] = (5 * timescale // 30).to_bytes(4, "big")
    path.write_bytes(data)
    footage = open_footage("cam", str(path))
    numbers = [number_in(image) for _, image in read_frames(footage)]
    assert numbers == list(range(5, 30)) and len(footage.timestamps_s) == 25
    np.testing.assert_allclose(footage.timestamps_s, np.arange(25) / 30, atol=1e-4)
    assert number_in(read_frame(footage, 12)) == 17


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """Of our own arrays (the codec's lie outside): one frame handed out, one being made, and the index."""
    footage = open_footage("cam", str(write_video(tmp_path / "m.mp4", range(120))))
    frame_bytes = 64 * 128 * 3
    tracemalloc.start()
    for _ in read_frames(footage):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * frame_bytes + 200_000  # the second term: Python's own; 120 frames are 2.9 MB


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_the_orientation_tag_is_applied(tmp_path: Path, turn: int) -> None:
    """The muxer's angle is counter-clockwise, so 90 shows the picture with its right side on top."""
    footage = open_footage("cam", str(write_video(tmp_path / "t.mp4", range(4), turn=turn)))
    image = read_frame(footage, 2)
    assert footage.image_size == ((128, 64) if turn == 180 else (64, 128))
    assert image.shape == (footage.image_size[1], footage.image_size[0], 3)
    assert footage.rotation_deg == -turn % 360
    assert number_in(np.rot90(image, -turn // 90)) == 2


def test_a_stated_rate_replaces_the_files(video: Path) -> None:
    footage = open_footage("cam", str(video), fps=240)
    assert footage.fps == 240
    np.testing.assert_allclose(footage.timestamps_s, np.arange(40) / 240, atol=1e-4)


def test_a_single_frame_needs_a_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "one.mp4", [0])
    with pytest.raises(InputError, match="single frame"):
        open_footage("cam", str(path))
    footage = open_footage("cam", str(path), fps=25)
    assert [number_in(image) for _, image in read_frames(footage)] == [0]


def test_frames_outside_are_refused(video: Path) -> None:
    footage = open_footage("cam", str(video))
    for start, stop, step in ((-1, 5, 1), (0, 41, 1), (0, 5, 0)):
        with pytest.raises(InputError, match="'cam' has 40 frames"):
            next(read_frames(footage, start, stop, step))
    assert list(read_frames(footage, 5, 5)) == []


# --- broken files -----------------------------------------------------------------------------------------------


def read_all(path: Path) -> list[int]:
    return [number for number, _ in read_frames(open_footage("cam", str(path)))]


@pytest.mark.parametrize("faststart", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_mp4_is_an_error(tmp_path: Path, faststart: bool, share: float) -> None:
    flags = {"movflags": "faststart"} if faststart else {}
    whole = write_video(tmp_path / "whole.mp4", range(60), container_options=flags).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"view 'cam': .*cut\.mp4.*truncated") as caught:
        read_all(cut)
    assert "\n" not in str(caught.value)


def test_a_truncated_mkv_is_an_error(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", range(60)).read_bytes()
    cut = tmp_path / "cut.mkv"
    for share in (0.3, 0.5, 0.7, 0.85):
        cut.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"view 'cam': .*cut\.mkv.*(truncated|no frames)"):
            read_all(cut)


def test_a_truncated_stream_without_a_header_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    """A transport stream does not say how long it should be: frames keep their times, a lost one is a gap."""
    whole = write_video(tmp_path / "whole.ts", range(60), options={"bf": "2"}).read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole[: int(0.7 * len(whole)) // 188 * 188])
    footage = open_footage("cam", str(cut))
    numbers = [number_in(image) for _, image in read_frames(footage)]
    assert 0 < len(numbers) < 60 and numbers == sorted(set(numbers))
    np.testing.assert_allclose(footage.timestamps_s, np.array(numbers) / 30, atol=1e-3)


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="view 'cam': .*none.mp4 does not exist"):
        open_footage("cam", str(tmp_path / "none.mp4"))
    with pytest.raises(InputError, match="is a folder"):
        open_footage("cam", str(tmp_path))
    for content in (b"", b"hello, this is text", bytes(range(256)) * 50):
        (tmp_path / "x.mp4").write_bytes(content)
        with pytest.raises(InputError, match=r"view 'cam': .*x\.mp4 cannot be decoded"):
            open_footage("cam", str(tmp_path / "x.mp4"))
    cv2.imwrite(str(tmp_path / "p.png"), picture(1))
    with pytest.raises(InputError, match="is one picture; write an image sequence"):
        open_footage("cam", str(tmp_path / "p.png"))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "s.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(InputError, match="has no video in it"):
        open_footage("cam", str(tmp_path / "s.wav"))


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n")
    with pytest.raises(InputError, match="cannot be decoded"):
        open_footage("cam", str(tmp_path / "list.mp4"))


def test_a_mirrored_or_skewed_orientation_is_refused(tmp_path: Path, video: Path) -> None:
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    assert data[matrix : matrix + 4] == b"\x00\x01\x00\x00"
    mirrored = bytearray(data)
    mirrored[matrix : matrix + 4] = b"\xff\xff\x00\x00"
    (tmp_path / "m.mp4").write_bytes(mirrored)
    with pytest.raises(InputError, match="shown mirrored"):
        open_footage("cam", str(tmp_path / "m.mp4"))
    write_video(tmp_path / "s.mp4", range(3), turn=30)
    with pytest.raises(InputError, match="only quarter turns"):
        open_footage("cam", str(tmp_path / "s.mp4"))


@settings(
    max_examples=max(FUZZ_CASES // 4, 10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1), insert=st.binary(min_size=1, max_size=24), cut=st.booleans())
def test_mutated_videos_raise_only_our_errors(
    tmp_path: Path, video: Path, place: float, insert: bytes, cut: bool
) -> None:
    data = video.read_bytes()
    at = int(place * len(data))
    path = tmp_path / f"f{abs(hash((at, insert, cut)))}.mp4"
    path.write_bytes(data[:at] + insert + (b"" if cut else data[at + len(insert) :]))
    try:
        read_all(path)
    except SolveError as problem:
        assert "\n" not in str(problem)
    path.unlink()


# --- image sequences --------------------------------------------------------------------------------------------


def write_pictures(folder: Path, numbers: Sequence[int], form: str = "%06d.png") -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / (form % number)), picture(number)[..., ::-1])
    return folder / form


def test_image_sequence(tmp_path: Path) -> None:
    pattern = write_pictures(tmp_path / "f", range(5, 15))
    footage = open_footage("cam", str(pattern), fps=50)
    assert footage.image_size == (128, 64) and footage.fps == 50
    np.testing.assert_allclose(footage.timestamps_s, np.arange(10) / 50)
    assert [(n, number_in(image)) for n, image in read_frames(footage, 2, None, 3)] == [(2, 7), (5, 10), (8, 13)]
    assert number_in(read_frame(footage, 9)) == 14


def test_image_sequence_without_padding_is_in_number_order(tmp_path: Path) -> None:
    pattern = write_pictures(tmp_path / "f", range(8, 13), "shot %d.jpg")
    assert [number_in(i) for _, i in read_frames(open_footage("cam", str(pattern), 25))] == [8, 9, 10, 11, 12]


def test_image_sequence_refusals(tmp_path: Path) -> None:
    pattern = write_pictures(tmp_path / "f", [1, 2, 4, 5])
    with pytest.raises(InputError, match="number 3 is missing between 1 and 5"):
        open_footage("cam", str(pattern), 25)
    with pytest.raises(InputError, match="no rate of its own"):
        open_footage("cam", str(pattern))
    with pytest.raises(InputError, match="no file of that name"):
        open_footage("cam", str(tmp_path / "f" / "%04d.jpg"), 25)
    with pytest.raises(InputError, match="does not exist"):
        open_footage("cam", str(tmp_path / "g" / "%06d.png"), 25)
    cv2.imwrite(str(tmp_path / "f" / "000003.png"), picture(3, 64, 64))
    footage = open_footage("cam", str(pattern), 25)
    with pytest.raises(InputError, match="frame 2 is 64x64, the first one 128x64"):
        list(read_frames(footage))
    (tmp_path / "f" / "000003.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"view 'cam': picture .*000003\.png cannot be read"):
        list(read_frames(footage))
    cv2.imwrite(str(tmp_path / "f" / "000006.png"), picture(3, 64, 64))
    with pytest.raises(InputError, match="differ in size"):
        open_footage("cam", str(pattern), 25)


# --- frames by time -----------------------------------------------------------------------------------------------


def test_frames_nearest_to_times(tmp_path: Path) -> None:
    """Worked by hand: b runs at 15/s and starts 0.2 s late, so it shows frame 0 at 0.2 s and frame 3 at 0.4 s."""
    slow = open_footage("b", str(write_video(tmp_path / "b.mp4", range(5), rate=15, time_base=Fraction(1, 15))))
    times = np.array([0.0, 0.1, 0.2, 0.2 + 1 / 30 - 0.001, 0.4, 0.4667, 1.0])
    np.testing.assert_array_equal(nearest_frames(slow, times, 0.2), [-1, -1, 0, 0, 3, 4, -1])


# --- real footage -----------------------------------------------------------------------------------------------


def test_real_take(shared_data: Path) -> None:
    folder = shared_data / "pose2sim_single" / "videos"
    sizes = {"cam01": (1080, 1920), "cam02": (1080, 1920), "cam03": (1088, 1920), "cam04": (1088, 1920)}
    for name, size in sizes.items():  # cam02 is VP9 in .mp4
        footage = open_footage(name, str(folder / f"{name}.mp4"))
        assert footage.image_size == size and len(footage.timestamps_s) == 100
        assert footage.fps == pytest.approx(60, abs=1e-6)
        assert read_frame(footage, 99).shape == (1920, size[0], 3)
