"""Loaders of data sets: tiny folders in the exact layout, real samples, the check of reprojection and its failure."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from inference.cameras import rig_for_take
from inference.errors import InputError
from inference.files.solution import write_solution
from inference.footage import open_footage
from inference.geometry.camera_path import camera_at
from inference.geometry.projection import project, project_jacobian
from inference.take import read_take
from inference.types import Camera, Intrinsics, Keypoints3D
from tests.report_scene import solved_scene
from tests.synthetic import make_scene, moving_rig
from training.loaders import coco, human36m, mpi_inf_3dhp, mpii, panoptic, shelf, solved_take
from training.loaders.labelled import LabelledView, Picture, check_reprojection
from training.loaders.plain_npy import read_plain_npy

RNG = np.random.default_rng(11)
K = np.array([[1100.0, 0, 500], [0, 1105, 505], [0, 0, 1]])


def samples(shared_data: Path, *parts: str) -> Path:
    return shared_data.joinpath("calibration_fixtures", "mmpose_testdata", "tests", "data", *parts)


def body(count: int, joints: int) -> np.ndarray:
    """Points (count, joints, 3) mm in front of a camera."""
    return RNG.normal([0, 0, 4500], [400, 600, 200], (count, joints, 3))


# ---- the check itself ----


def view(xy: np.ndarray, xyz: np.ndarray, camera: Camera) -> LabelledView:
    seen = np.isfinite(xy).all(-1)
    names = tuple(f"j{i}" for i in range(len(xy)))
    return LabelledView(Picture("x.jpg"), names, xy, seen, np.full(4, np.nan), camera=camera, xyz=xyz)


def test_reprojection_is_checked_and_wrong_conventions_are_refused():
    """R (X - T) read as R X + t, the trap of SEEDS section 0, is hundreds of pixels off."""
    R = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    centre, lens = np.array([4.0, 0.3, 1.0]), Intrinsics("c", (1000, 1000), K, np.zeros(0), "none")
    right, wrong = Camera(lens, R, -R @ centre), Camera(lens, R, np.array([0.5, 0.2, 4.0]))
    xyz = RNG.normal([0, 0, 1], 0.4, (12, 3))
    xy = project(right, xyz)
    assert check_reprojection([view(xy, xyz, right)], "set") < 1e-9
    half = view(xy + 0.5, xyz, right)
    assert check_reprojection([half], "set") == pytest.approx(np.sqrt(0.5))
    with pytest.raises(InputError, match="set: 3D joints project .* px from their 2D labels"):
        check_reprojection([view(xy, xyz, wrong)], "set")
    with pytest.raises(InputError, match="nothing can be checked"):
        check_reprojection([view(np.full((12, 2), np.nan), xyz, right)], "set")


# ---- Human3.6M ----


def h36m_fetch(root: Path) -> None:
    folder = root / "S9" / "SittingDown-2"
    folder.mkdir(parents=True)
    solid = body(130, 32)
    flat = solid @ K.T
    flat = flat[..., :2] / flat[..., 2:]
    with h5py.File(folder / "annot.h5", "w") as file:
        file["pose/2d"], file["pose/3d"], file["pose/3d-univ"] = flat, solid, solid
        file["camera"], file["frame"] = np.full(130, 54138969), np.arange(1, 131)
        file["intrinsics/54138969"] = np.array([K[0, 0], K[0, 2], K[1, 1], K[1, 2]])


def test_h36m_fetch(tmp_path):
    h36m_fetch(tmp_path)
    views = human36m.read_fetched(tmp_path, ("S9",))
    assert [Path(v.picture.path).name for v in views] == ["img_000001.jpg", "img_000065.jpg", "img_000129.jpg"]
    assert (views[0].subject, views[0].action) == ("S9", "SittingDown")
    assert views[0].joint_names[9] == "nose" and len(views[0].joint_names) == 17
    assert check_reprojection(views, "h36m-fetch") < 1e-6
    with pytest.raises(InputError, match="S11 is missing: a subject as h36m-fetch"):
        human36m.read_fetched(tmp_path)
    (tmp_path / "S9" / "SittingDown-2" / "annot.h5").write_bytes(b"no")
    with pytest.raises(InputError, match="is no annot.h5 of h36m-fetch"):
        human36m.read_fetched(tmp_path, ("S9",))


@pytest.mark.parametrize(
    ("name", "action"),
    [("Sitting 2", "Sitting"), ("SittingDown-1", "SittingDown"), ("TakingPhoto", "Photo"), ("WalkingDog 1", "WalkDog")],
)
def test_actions_have_one_name(name, action):
    assert human36m.action_of(name) == action


def iskakov(root: Path, cameras_file: Path | None = None) -> np.ndarray:
    camera = np.dtype([("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    row = np.dtype(
        [("subject_idx", "i1"), ("action_idx", "i1"), ("frame_idx", "i2"), ("keypoints", "f4", (17, 3))]
        + [("bbox_by_camera_tlbr", "i2", (2, 4))]
    )
    rig, table = np.zeros((1, 2), camera), np.zeros(3, row)
    R = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    rig["R"], rig["K"], rig["dist"] = R, K, [-0.2, 0.24, -0.0014, -0.001, -0.003]
    rig["t"] = (-R @ np.array([4000.0, 300, 1000]))[:, None]
    table["keypoints"] = RNG.normal([0, 0, 1000], 400, (3, 17, 3))
    table["frame_idx"] = [0, 5, 10]
    table["bbox_by_camera_tlbr"][:] = [100, 200, 700, 800]
    table["bbox_by_camera_tlbr"][1, 1] = 0  # a missing view
    names = {"subject_names": ["S9"], "camera_names": ["54138969", "55011271"], "action_names": ["Phoning-1"]}
    (root / "extra").mkdir()
    labels = {**names, "cameras": rig, "table": table}
    np.save(root / "extra" / "human36m-multiview-labels-GTbboxes.npy", labels)  # type: ignore[arg-type]
    return table


def test_iskakov(tmp_path):
    table = iskakov(tmp_path)
    views = human36m.read_multiview(tmp_path)
    assert len(views) == 5  # three frames of two cameras, one missing
    assert views[2].picture.path.endswith("processed/S9/Phoning-1/imageSequence/54138969/img_000006.jpg")
    assert (views[0].action, views[0].joint_names[6], views[0].joint_names[16]) == ("Phoning", "pelvis", "nose")
    np.testing.assert_allclose(views[0].xyz, table["keypoints"][0] / 1000, rtol=1e-6)
    np.testing.assert_allclose(views[0].box, [200, 100, 799, 699])
    np.testing.assert_allclose(views[0].camera.centre, [4, 0.3, 1], atol=1e-5)
    with pytest.raises(InputError, match="the multi-view labels of Human3.6M"):
        human36m.read_multiview(tmp_path / "nowhere")


def test_the_cameras_of_human36m_fit_its_own_pixels(shared_data):
    """Published pixels of real frames, with its lens written as OpenCV's: below a pixel, though its formula differs."""
    file = shared_data / "calibration_fixtures" / "h36m_cameras" / "camera-parameters.json"
    raw = json.loads(file.read_text())
    truth = np.load(samples(shared_data, "h36m", "test_h36m_body3d.npz"))
    errors = []
    for name, part, solid in zip(truth["imgname"], truth["part"], truth["S"], strict=True):
        camera_name = str(name).split("/")[1].split(".")[1]
        inner = raw["intrinsics"][camera_name]
        lens = Intrinsics(
            camera_name, (1000, 1002), np.array(inner["calibration_matrix"]), np.array(inner["distortion"])
        )
        errors.append(np.linalg.norm(project(Camera(lens, np.eye(3), np.zeros(3)), solid[:, :3]) - part[:, :2], axis=1))
    assert np.median(errors) < 1


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    """Negative control: the file asks for os.system; nothing of it is called."""

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    np.save(tmp_path / "evil.npy", np.array({"a": Evil()}, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"evil.npy cannot be read: it names (posix|nt)\.system"):
        read_plain_npy(tmp_path / "evil.npy")
    assert not (tmp_path / "ran").exists()
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    with pytest.raises(InputError, match="not a dict of labels"):
        read_plain_npy(tmp_path / "numbers.npy")
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="short.npy cannot be read"):
        read_plain_npy(tmp_path / "short.npy")


# ---- MPI-INF-3DHP ----

CALIBRATION = """Skeletool Camera Calibration File V1.0
name          0
  sensor      10 10
  size        2048 2048
  animated    0
  intrinsic   1497.69 0 1024.7 0 0 1497.1 1051.4 0 0 0 1 0 0 0 0 1
  extrinsic   0.965 0.0048 0.262 -562.8 -0.0044 -0.999 0.035 1398 0.262 -0.035 -0.964 3852 0 0 0 1
  radial      0
"""


def mpi_training(root: Path) -> None:
    folder = root / "S1" / "Seq1"
    folder.mkdir(parents=True)
    (folder / "camera.calibration").write_text(CALIBRATION)
    solid = body(3, 28)
    own = np.array([[1497.69, 0, 1024.7], [0, 1497.1, 1051.4], [0, 0, 1]])
    flat = solid @ own.T
    flat = flat[..., :2] / flat[..., 2:]
    cells = np.empty((1, 1), object), np.empty((1, 1), object)
    cells[0][0, 0], cells[1][0, 0] = flat.reshape(3, 56), solid.reshape(3, 84)
    savemat(folder / "annot.mat", {"annot2": cells[0], "annot3": cells[1]})


def test_mpi_inf_3dhp_training(tmp_path):
    mpi_training(tmp_path)
    views = mpi_inf_3dhp.read_training(tmp_path, 1, 1, cameras=(0,))
    assert len(views) == 3 and views[2].picture.frame == 2 and views[2].picture.path.endswith("video_0.avi")
    assert (views[0].joint_names[4], views[0].joint_names[7]) == ("pelvis", "head_top")
    assert check_reprojection(views, "3DHP") < 1e-6
    with pytest.raises(InputError, match="there is no camera 2"):
        mpi_inf_3dhp.read_training(tmp_path, 1, 1)
    with pytest.raises(InputError, match="Seq2 is missing"):
        mpi_inf_3dhp.read_training(tmp_path, 1, 2)
    (tmp_path / "S1" / "Seq1" / "camera.calibration").write_text("name 0\nintrinsic 1 2 3\n")
    with pytest.raises(InputError, match="is no camera.calibration"):
        mpi_inf_3dhp.read_training(tmp_path, 1, 1)


def test_mpi_inf_3dhp_test_set(tmp_path):
    folder = tmp_path / "TS1"
    folder.mkdir()
    solid = body(4, 17)
    flat = solid @ K.T
    with h5py.File(folder / "annot_data.mat", "w") as file:
        file["valid_frame"] = np.array([[1], [0], [1], [1]])
        file["annot2"] = (flat[..., :2] / flat[..., 2:])[:, None]
        file["annot3"], file["univ_annot3"] = solid[:, None], 1.1 * solid[:, None] + 40
    views = mpi_inf_3dhp.read_test(tmp_path, 1)
    assert [Path(v.picture.path).stem for v in views] == ["img_000001", "img_000003", "img_000004"]
    assert views[0].joint_names[14] == "pelvis"
    assert check_reprojection(views, "TS1") < 1e-6
    np.testing.assert_allclose(views[0].camera.intrinsics.K, K, atol=1e-6)
    with pytest.raises(InputError, match="3D joints project"):
        check_reprojection(mpi_inf_3dhp.read_test(tmp_path, 1, "univ_annot3"), "TS1 univ")
    with pytest.raises(InputError, match="unknown annotation 'annot4'"):
        mpi_inf_3dhp.read_test(tmp_path, 1, "annot4")


# ---- MPII, COCO ----


def test_mpii_counts_from_one(tmp_path):
    person = {"image": "a.jpg", "center": [101.0, 201.0], "scale": 2.0}
    person |= {"joints": [[11.0, 21.0]] * 15 + [[-1.0, -1.0]], "joints_vis": [1] * 15 + [0]}
    (tmp_path / "annot").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "annot" / "valid.json").write_text(json.dumps([person]))
    found = mpii.read_mpii(tmp_path)[0]
    np.testing.assert_allclose(found.xy[0], [10, 20])
    assert np.isnan(found.xy[15]).all() and not found.visible[15] and found.joint_names[9] == "head_top"
    np.testing.assert_allclose(found.box, [100 - 250, 200 + 30 - 250, 100 + 250, 200 + 30 + 250])
    with pytest.raises(InputError, match="train.json is missing: MPII's annotations"):
        mpii.read_mpii(tmp_path, "train")
    (tmp_path / "annot" / "train.json").write_text('[{"image": "a.jpg"}]')
    with pytest.raises(InputError, match="is no annotation file of MPII"):
        mpii.read_mpii(tmp_path, "train")


def test_coco(tmp_path):
    keypoints = [30, 40, 2, 35, 38, 1] + [0, 0, 0] * 15
    person = {
        "id": 7,
        "image_id": 3,
        "bbox": [10, 20, 50, 80],
        "keypoints": keypoints,
        "num_keypoints": 2,
        "iscrowd": 0,
    }
    crowd = {**person, "iscrowd": 1}
    raw = {"images": [{"id": 3, "file_name": "3.jpg"}], "annotations": [person, crowd]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images" / "val2017").mkdir(parents=True)
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(raw))
    cv2.imwrite(str(tmp_path / "images" / "val2017" / "3.jpg"), np.full((120, 90, 3), 77, np.uint8))
    (found,) = coco.read_coco(tmp_path)
    np.testing.assert_allclose(found.xy[:2], [[30, 40], [35, 38]])
    assert np.isnan(found.xy[2:]).all() and list(found.visible[:3]) == [True, False, False]
    np.testing.assert_allclose(found.box, [10, 20, 59, 99])
    assert found.picture.read().shape == (120, 90, 3)
    with pytest.raises(InputError, match="person_keypoints_train2017.json is missing"):
        coco.read_coco(tmp_path, "train")
    with pytest.raises(InputError, match="the labels name a picture that is not there"):
        Picture(str(tmp_path / "none.jpg")).read()


def test_real_samples_of_coco_and_mpii(shared_data):
    """Every seen joint of the samples lies in its picture."""
    people = coco.read_coco_file(samples(shared_data, "coco", "test_coco.json"), samples(shared_data, "coco"))
    assert len(people) >= 4
    for person in people:
        height, width = person.picture.read().shape[:2]
        assert ((person.xy[person.visible] >= 0) & (person.xy[person.visible] < (width, height))).all()


# ---- CMU Panoptic, Shelf, Campus ----


def test_panoptic_samples(shared_data):
    """Axes turned upright, metres: people stand on the floor at z = 0 and most joints are in the picture."""
    views = panoptic.read_panoptic(samples(shared_data, "panoptic_body3d"), "160906_band1")
    assert len(views) == 2 * 3 * 5
    assert check_reprojection(views, "panoptic") < 1e-9
    xyz = np.stack([v.xyz for v in views])
    names = list(panoptic.JOINTS)
    assert 0.0 < np.nanmin(xyz[..., names.index("left_ankle"), 2]) < 0.3
    assert (
        0.8 < np.nanmin(xyz[..., names.index("nose"), 2]) < np.nanmax(xyz[..., names.index("nose"), 2]) < 1.9
    )  # some sit
    assert np.mean([v.visible.mean() for v in views]) > 0.7
    assert views[0].picture.path.endswith("hdImgs/00_03/00_03_00000168.jpg")


def test_panoptic_mistakes(tmp_path, shared_data):
    with pytest.raises(InputError, match="band9 is missing: a sequence of CMU Panoptic"):
        panoptic.read_panoptic(samples(shared_data, "panoptic_body3d"), "160906_band9")
    with pytest.raises(InputError, match="has no camera '00_99'"):
        panoptic.read_panoptic(samples(shared_data, "panoptic_body3d"), "160906_band1", ("00_99",))
    (tmp_path / "calibration_a.json").write_text("{}")
    with pytest.raises(InputError, match="is no calibration of CMU Panoptic"):
        panoptic.read_cameras(tmp_path / "calibration_a.json", ("00_03",))


def test_panoptic_axes_by_hand(tmp_path):
    """Their (100, -150, 30) cm, y down, is (1, 0.3, 1.5) m with z up."""
    np.testing.assert_allclose(panoptic._OURS_FROM_THEIRS @ [1.0, -1.5, 0.3], [1.0, 0.3, 1.5])
    assert np.linalg.det(panoptic._OURS_FROM_THEIRS) == pytest.approx(1)


@pytest.mark.parametrize(("name", "count", "limit"), [("shelf", 30, 0.1), ("campus", 9, 1.0)])
def test_shelf_and_campus_samples(shared_data, name, count, limit):
    views = shelf.read_shelf(samples(shared_data, name), name)
    assert len(views) == count
    assert check_reprojection(views, name) < limit


def test_shelf_read_with_the_translation_as_such_is_refused(shared_data):
    """Negative control: T taken as t of x = R X + t."""
    views = shelf.read_shelf(samples(shared_data, "shelf"))
    wrong = [
        LabelledView(
            *(v.picture, v.joint_names, v.xy, v.visible, v.box),
            camera=Camera(v.camera.intrinsics, v.camera.R, v.camera.centre),
            xyz=v.xyz,
        )
        for v in views
    ]
    with pytest.raises(InputError, match="3D joints project|nothing can be checked"):
        check_reprojection(wrong, "shelf")


def test_shelf_mistakes(tmp_path):
    with pytest.raises(InputError, match="unknown set 'shelve'"):
        shelf.read_shelf(tmp_path, "shelve")
    with pytest.raises(InputError, match="actorsGT.mat is missing"):
        shelf.read_shelf(tmp_path)


# ---- takes solved with Sightline ----


def written_solution(example_take: Path, folder: Path) -> tuple[Path, np.ndarray]:
    """Write the example take's true joints as a solution of 2 mm, the left wrist of frame 10 unsure, 0.2 m."""
    take = read_take(example_take)
    sizes = {view.name: open_footage(view.name, str(view.video)).image_size for view in take.views}
    rig, _ = rig_for_take(take, sizes)
    truth = np.load(example_take.with_name("truth.npz"))
    base = solved_scene(frames=len(truth["timestamps_s"])).solution
    names, known = base.solved.joint_names, list(truth["joint_names"])
    xyz = np.full((len(truth["timestamps_s"]), 1, len(names), 3), np.nan)
    for index, name in enumerate(names):
        if name in known:
            xyz[:, 0, index] = truth["xyz"][:, known.index(name)]
    seen = np.isfinite(xyz).all(-1)
    covariance = np.where(seen[..., None, None], 0.002**2 * np.eye(3), np.nan)
    covariance[10, 0, names.index("left_wrist")] = 0.2**2 * np.eye(3)
    layer = Keypoints3D(names, truth["timestamps_s"], xyz, covariance, np.where(seen, 3, 0), 5.0)
    motion = dataclasses.replace(base.motion, timestamps_s=truth["timestamps_s"])
    path = folder / "solution.npz"
    write_solution(path, dataclasses.replace(base, rig=rig, raw=layer, solved=layer, motion=motion))
    return path, seen


def test_a_solved_take_is_a_data_set(example_take, tmp_path):
    """Labels are the projected joints; what is unsure in the picture, or was not observed, is no label."""
    path, seen = written_solution(example_take, tmp_path)
    views = solved_take.read_solved_take(example_take, path, every=5)
    assert len(views) == 4 * 15
    assert check_reprojection(views, "take") < 1e-9
    wrist = views[0].joint_names.index("left_wrist")
    assert np.isnan(views[2].xy[wrist]).all() and np.isfinite(views[1].xy[wrist]).all()
    absent = ~seen[0, 0]
    assert absent.any() and not np.isfinite(views[0].xy[absent]).any()
    assert views[17].picture.frame == 10
    assert views[0].picture.read().shape[:2] == views[0].camera.intrinsics.image_size[::-1]


def test_a_take_without_a_solution_is_one_line(example_take, tmp_path):
    with pytest.raises(InputError, match=r"solution.npz is missing: its solution \(python -m inference solve"):
        solved_take.read_solved_take(example_take, tmp_path / "solution.npz")


def test_labels_of_a_camera_that_moves_are_seen_from_where_it_stands_then(example_take):
    """Its first pose would put late ones elsewhere; covariances turn with it."""
    take = read_take(example_take)
    view = take.views[0]
    rig, _ = rig_for_take(take, {each.name: open_footage(each.name, str(each.video)).image_size for each in take.views})
    scene = make_scene(40, 4, seed=1)
    camera = moving_rig(rig, scene.timestamps_s, [0], seed=1).cameras[0]
    shape = scene.xyz.shape[:3]
    covariance = np.broadcast_to(np.diag([1e-4, 1e-6, 1e-5]), (*shape, 3, 3))
    joints = Keypoints3D(scene.joint_names, scene.timestamps_s, scene.xyz, covariance, np.full(shape, 3, np.int8))
    views = solved_take.labels_of_view(view, camera, 0.0, joints, (40.0, 1))
    assert len(views) > 15
    assert check_reprojection(views, "take") < 1e-6
    late = views[-1]
    frame = next(i for i in range(40) if np.array_equal(scene.xyz[i, 0], late.xyz))
    still = camera_at(camera, float(scene.timestamps_s[frame]))
    seen = np.isfinite(late.xy).all(axis=1)
    off = [np.linalg.norm(project(c, late.xyz) - late.xy, axis=-1)[seen].mean() for c in (still, camera)]
    assert off[0] < 1e-6 and off[1] > 10
    _, slopes = project_jacobian(still, late.xyz)
    np.testing.assert_allclose(
        late.covariance, slopes @ covariance[frame, 0] @ slopes.swapaxes(-1, -2), rtol=1e-6, atol=1e-9
    )
