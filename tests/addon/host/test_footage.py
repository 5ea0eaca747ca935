"""Footage behind the cameras."""

import bpy
import cv2
import numpy as np
import pytest
from sightline.addon.host.cameras import first_file
from sightline.addon.host.scene import TakeInfo, build_scene


@pytest.fixture
def frames(tmp_path):
    """The pattern of an image sequence of 640 x 480."""
    for number in range(3, 6):
        cv2.imwrite(str(tmp_path / f"img_{number:04d}.png"), np.full((480, 640, 3), 40 * number, np.uint8))
    (tmp_path / "img_note.png").write_bytes(b"")
    return str(tmp_path / "img_%04d.png")


@pytest.fixture
def video(tmp_path):
    """A video of 640 x 480 at 25 frames per second."""
    path = str(tmp_path / "side.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (640, 480))
    for number in range(10):
        writer.write(np.full((480, 640, 3), 20 * number, np.uint8))
    writer.release()
    return path


def shown(camera):
    (background,) = camera.data.background_images
    return background


@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_a_video_stands_behind_its_camera(empty_scene, make_solution, video, fps):
    solution = make_solution(fps=fps)
    object.__setattr__(solution, "offset_s", np.array([0.0, 0.0, 0.2]))
    for _ in range(2):  # solving again does not put a second one there
        built = build_scene(empty_scene, solution, TakeInfo("a", {"side": video}))
        clip = shown(built.cameras[2]).clip
        assert (tuple(clip.size), clip.frame_start) == ((640, 480), 1 + round(0.2 * fps))
        assert built.cameras[2].data.show_background_images
        assert len(bpy.data.movieclips) == 1
        assert [("25 frames" in w, "'side'" in w) for w in built.warnings] == ([] if fps == 25 else [(True, True)])


def test_an_image_sequence(empty_scene, make_solution, frames):
    built = build_scene(empty_scene, make_solution(), TakeInfo("a", {"side": frames}))
    assert first_file(frames).name == "img_0003.png"
    clip = shown(built.cameras[2]).clip
    assert clip.source == "SEQUENCE" and tuple(clip.size) == (640, 480) and built.warnings == ()


def test_other_footage_takes_the_place_of_ours_but_not_of_the_users(empty_scene, make_solution, frames, video):
    built = build_scene(empty_scene, make_solution(), TakeInfo("a", {"side": frames}))
    lens = built.cameras[2].data
    mine = lens.background_images.new()
    mine.source, mine.clip = "MOVIE_CLIP", bpy.data.movieclips.load(video)
    kept = mine.clip
    build_scene(empty_scene, make_solution(fps=25.0), TakeInfo("a", {"side": video}))
    clips = [b.clip for b in lens.background_images]
    assert kept in clips and len(clips) == 2 and {c.source for c in clips} == {"MOVIE"}


def test_the_lens_goes_to_the_clip(empty_scene, make_solution, frames):
    solution = make_solution()
    camera = solution.rig.cameras[2]
    lens = type(camera.intrinsics)(
        "side", (640, 480), camera.intrinsics.K, np.array([-0.1, 0.02, 0.001, -0.002, 0.003])
    )
    rig = (*solution.rig.cameras[:2], type(camera)(lens, camera.R, camera.t))
    object.__setattr__(solution, "rig", type(solution.rig)(rig, solution.rig.covariance))
    built = build_scene(empty_scene, solution, TakeInfo("a", {"side": frames}))
    background = shown(built.cameras[2])
    tracker = background.clip.tracking.camera
    assert background.clip_user.use_render_undistorted
    assert (tracker.brown_k1, tracker.brown_k2, tracker.brown_k3) == pytest.approx((-0.1, 0.02, 0.003))
    assert (tracker.brown_p1, tracker.brown_p2) == pytest.approx((-0.002, -0.001))  # exchanged, and y points up
    assert tracker.distortion_model == "BROWN"
    assert tracker.focal_length_pixels == pytest.approx(700)
    assert tuple(tracker.principal_point_pixels) == pytest.approx((320, 240))


def test_missing_and_wrong_footage_is_warned_of(empty_scene, make_solution, tmp_path, frames):
    files = {"cam01": str(tmp_path / "no.mp4"), "cam02": str(tmp_path / "no_%d.png"), "side": frames}
    built = build_scene(empty_scene, make_solution(), TakeInfo("a", files))
    assert [w.split(":")[0] for w in built.warnings] == ["view 'cam01'", "view 'cam02'"]
    assert all("does not exist" in w for w in built.warnings)
    (warning,) = build_scene(empty_scene, make_solution(), TakeInfo("b", {"cam01": frames})).warnings
    assert "(640, 480)" in warning and "(1920, 1080)" in warning
