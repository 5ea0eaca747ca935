import _socket
import socket
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from inference.geometry.projection import project
from inference.perception.crop import Region
from inference.types import Camera, Intrinsics
from training.data.body import JOINT_NAMES
from training.data.synthetic import contact_sheet, make_take
from training.data.synthetic.lens import make_views
from training.data.synthetic.settings import BASIC, EVERYTHING
from training.data.synthetic.views import SyntheticViews, batches_in_processes

_STILL = replace(BASIC, variety=0.0)  # recorded poses: everyone stands on the feet


@pytest.fixture(scope="module")
def everything(pack):
    return SyntheticViews(pack, EVERYTHING, seed=4).batch(range(12))


def _same(first, second):
    return all(
        torch.equal(torch.nan_to_num(getattr(first, n).float()), torch.nan_to_num(getattr(second, n).float()))
        for n in vars(first)
    )


def test_shapes_and_types(everything):
    people = everything.keypoints.shape[1]
    assert everything.images.shape == (12, 256, 192, 3) and everything.images.dtype == torch.uint8
    assert everything.keypoints.shape == (12, people, len(JOINT_NAMES), 2)
    assert everything.mask.shape == (12, 256, 192) and int(everything.mask.max()) <= people
    assert not (everything.visible & ~everything.inside).any()
    assert everything.images.float().std(dim=(1, 2, 3)).min() > 2  # no empty picture


def test_scenes_depend_on_seed_and_index_alone(pack, everything):
    again = SyntheticViews(pack, EVERYTHING, seed=4)
    assert _same(again.batch(range(12)), everything)
    alone, whole = again.batch([7]), everything
    assert (alone.images[0].int() - whole.images[7].int()).abs().float().mean() < 0.5
    assert torch.allclose(alone.xyz[0, 0], whole.xyz[7, 0], atol=1e-5)
    other = SyntheticViews(pack, EVERYTHING, seed=5).batch([7])
    assert not torch.allclose(other.xyz[0, 0], whole.xyz[7, 0], atol=1e-3)


def test_processes_make_the_same_batches(pack_file, pack, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", _socket.socket.connect)  # between our own processes, no network
    loader = batches_in_processes(pack_file, BASIC, seed=2, scenes=2, numbers=range(1, 3), workers=1)
    made = list(loader)
    assert [batch.scene.tolist() for batch in made] == [[2, 3], [4, 5]]
    assert _same(made[0], SyntheticViews(pack, BASIC, seed=2).batch([2, 3]))


def test_visible_keypoints_lie_on_the_person(pack):
    batch = SyntheticViews(pack, _STILL, seed=1).batch(range(16))
    hits = total = 0
    for n in range(16):
        near = cv2.dilate(batch.mask[n].numpy(), np.ones((5, 5)))
        for u, v in batch.keypoints[n, 0][batch.visible[n, 0]].round().long().tolist():
            hits, total = hits + int(near[v, u] == 1), total + 1
    assert total > 150 and hits / total > 0.97


def test_truth_agrees_with_the_camera_model(pack):
    """Projecting the 3D truth with our own lens model and the crop's map gives the 2D truth."""
    batch = SyntheticViews(pack, replace(BASIC, views=3), seed=6).batch(range(3))
    for n in range(9):
        count = 4 if batch.fisheye[n] else 8
        model = "fisheye" if batch.fisheye[n] else "opencv"
        inner = Intrinsics(
            "c", (1, 1), batch.K[n].double().numpy(), batch.distortion[n, :count].double().numpy(), model
        )
        pixels = project(_exact(inner, batch.R[n], batch.t[n]), batch.xyz[n, 0].double().numpy())
        affine = batch.crop_from_image[n].double().numpy()
        there = batch.inside[n, 0].numpy()
        assert (
            np.abs((pixels @ affine[:, :2].T + affine[:, 2] - batch.keypoints[n, 0].numpy())[there]).max(initial=0)
            < 0.05
        )
    assert torch.equal(batch.xyz[0], batch.xyz[1]) and not torch.equal(batch.R[0], batch.R[1])


def _exact(inner, R, t):
    u, _, v = np.linalg.svd(R.double().numpy())
    return Camera(inner, u @ v, t.double().numpy())


def test_left_is_left(pack):
    """Seen from the front, the subject's left is on the right of the picture."""
    batch = SyntheticViews(pack, replace(_STILL, views=4), seed=3).batch(range(6))
    index = {name: i for i, name in enumerate(JOINT_NAMES)}
    checked = 0
    for n in range(24):
        xyz, xy = batch.xyz[n, 0], batch.keypoints[n, 0]
        across = xyz[index["left_hip"]] - xyz[index["right_hip"]]
        ahead = torch.linalg.cross(across, torch.tensor([0.0, 0, 1]))  # left × up is ahead... of a body facing -Y
        centre = -batch.R[n].T @ batch.t[n]
        facing = torch.dot(ahead, centre - xyz[index["left_hip"]]) / (ahead.norm() * (centre - xyz[0]).norm())
        level = batch.crop_from_image[n]
        if facing.abs() > 0.7 and level[0, 0] > 0.9 * level[0, :2].norm() and batch.R[n, 1, 2] < -0.9:
            assert (xy[index["left_hip"], 0] > xy[index["right_hip"], 0]) == (facing > 0)
            checked += 1
    assert checked >= 4


def test_an_occluder_hides_what_is_behind_it(pack):
    """A wall before the camera: nothing of the person is visible, and the mask is empty; without it, both are there."""
    views = SyntheticViews(pack, _STILL, seed=8)
    rng = views.rng(0)
    from training.data.synthetic.scene import SOLID_WIDTH, draw_people
    from training.data.synthetic.sensor import plain_sensor

    people = draw_people(rng, views.bank, len(views.body.shapes), views.settings)
    posed = views.pose([people])
    scene, regions = views._stage(rng, people, *views.outline(posed, 0))
    open_view = views.photograph([scene], posed, regions, [plain_sensor(1.0)], [0])
    camera = scene.cameras[0]
    wall = np.zeros((1, SOLID_WIDTH))
    wall[0, :3] = camera.centre + 0.5 * camera.R[2]
    wall[0, 3:12], wall[0, 12:15] = camera.R.T.ravel(), (5, 5, 0.01)
    shut = views.photograph([replace(scene, solids=wall)], posed, regions, [plain_sensor(1.0)], [0])
    assert open_view.visible.sum() > 8 and (open_view.mask > 0).sum() > 500
    assert not shut.visible.any() and not shut.mask.any()
    assert torch.equal(open_view.inside, shut.inside)


def test_whole_pictures_hold_boxes_of_people(pack):
    settings = replace(EVERYTHING, framing="picture", size=(256, 192), occluders=0.0)
    batch = SyntheticViews(pack, settings, seed=1).batch(range(6))
    assert batch.images.shape == (6, 192, 256, 3)
    for n in range(6):
        rows, columns = np.nonzero(batch.mask[n].numpy() == 1)
        if len(rows):
            x1, y1, x2, y2 = batch.boxes[n, 0].tolist()
            assert x1 - 4 <= columns.min() and columns.max() <= x2 + 4 and y1 - 4 <= rows.min() and rows.max() <= y2 + 4


@pytest.mark.parametrize("model", ["none", "opencv", "fisheye"])
def test_lens_agrees_with_inference(model):
    rng = np.random.default_rng(5)
    K = np.array([[700.0, 0, 319], [0, 690, 239], [0, 0, 1]])
    lengths = {"none": 0, "opencv": 5, "fisheye": 4}
    inner = Intrinsics("c", (640, 480), K, rng.normal(0, 0.03, lengths[model]), model)
    camera = Camera(inner, np.eye(3), np.array([0.1, -0.2, 3.0]))
    views = make_views([camera], [Region((300.0, 250.0), (320.0, 240.0), 0.3)], (320, 240))
    points = rng.uniform(-0.8, 0.8, (50, 3))
    found = views.project(torch.tensor(points[None], dtype=torch.float32))[0].numpy()
    image = project(camera, points)
    linear = np.linalg.inv(views.crop_from_image[0, :, :2].double().numpy())
    back = (found[:, :2] - views.crop_from_image[0, :, 2].numpy()) @ linear.T
    assert np.abs(back - image).max() < 0.01
    rays = views.directions()[0]
    along = rays.reshape(-1, 3) * 3.0 - torch.tensor([0.1, -0.2, 3.0])  # from the centre of the camera
    again = views.project(along[None])[0, :, :2].reshape(240, 320, 2).numpy()
    grid = np.stack(np.meshgrid(np.arange(320), np.arange(240)), axis=-1)
    assert np.abs(again - grid).max() < 0.05


def test_contact_sheet_is_written(tmp_path, pack_file):
    out = tmp_path / "sheet.png"
    arguments = ["--pack", str(pack_file), "--out", str(out), "--scenes", "3", "--columns", "2", "--basic"]
    assert contact_sheet.main(arguments) == 0
    assert cv2.imread(str(out)).shape == (512, 384, 3)
    assert contact_sheet.main(["--pack", str(tmp_path / "no.npz"), "--out", str(out)]) == 2


def test_take_is_whole_and_true(tmp_path, pack_file, pack):
    """Every video has all frames; the calibration that was written projects the truth to the stated keypoints."""
    from inference.files.calibration import read_calibration
    from inference.footage import open_footage

    out = tmp_path / "take"
    arguments = ["--pack", str(pack_file), "--out", str(out), "--frames", "3", "--cameras", "2", "--size", "160", "128"]
    assert make_take.main(arguments) == 0
    camera = read_calibration(out / "calibration.toml").cameras["cam02"]
    with np.load(out / "truth.npz") as truth:
        assert truth["xyz"].shape == (3, len(JOINT_NAMES), 3)
        pixels = project(camera, truth["xyz"][2])
        assert np.abs(pixels - truth["keypoints"][2, 1, 0]).max() < 0.02
        assert np.abs(truth["people_xyz"][..., 2].min() - 0.0) < 0.1  # toes stand on the floor
        assert truth["visible"].mean() > 0.4
    assert len(open_footage("cam02", out / "videos" / "cam02.mp4").timestamps_s) == 3
    assert make_take.main(arguments) == 2  # never over an old take
