"""Render the example take of ``addon/example_take``: four calibrated views of a person in a room, with exact truth.

Needs Sightline's own environment with ``bpy`` and the body that ``tools/example_take_body.py`` writes:

    python tools/render_example_take.py --body body.npz --out addon/example_take

Blender (Cycles, CPU) renders pinhole pictures that are a little wider than the views; these are warped through each
view's own lens (OpenCV distortion), so calibration and pixels agree by construction. The room stands still, so it is
rendered once per view; frames render only the region around the person. Everything follows from the seed below, up to
the renderer's version. ``--frames 0,45`` and ``--views cam02`` render a part for looking at; nothing is then encoded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inference.files.anipose_toml import write_anipose_toml
from inference.types import Camera, Intrinsics
from tools.example_take_scene import build_person, build_room, light_room

SEED = 7
MARGIN = 1.14  # the pinhole picture is this much wider than the view, for the corners of the lens
REGION_PX = 26  # around person and shadow


@dataclass(frozen=True)
class View:
    """One camera of the take: lens (OpenCV, px) and where it stands and looks."""

    name: str
    size: tuple[int, int]  # (width, height) px
    focal: tuple[float, float]  # px
    centre: tuple[float, float]  # px
    distortion: tuple[float, float, float, float, float]
    place: tuple[float, float, float]  # m
    target: tuple[float, float, float]  # m

    @property
    def K(self) -> np.ndarray:
        """(3, 3) intrinsic matrix."""
        return np.array([[self.focal[0], 0, self.centre[0]], [0, self.focal[1], self.centre[1]], [0, 0, 1]])

    @property
    def cam_from_world(self) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and translation (3,), OpenCV axes, metres."""
        z = np.subtract(self.target, self.place)
        z = z / np.linalg.norm(z)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        R = np.stack([x, np.cross(z, x), z])
        return R, -R @ np.array(self.place)

    @property
    def pinhole_size(self) -> tuple[int, int]:
        """(width, height) px of the wider pinhole picture."""
        return tuple(2 * round(MARGIN * n / 2) for n in self.size)  # type: ignore[return-value]

    @property
    def pinhole_K(self) -> np.ndarray:
        """(3, 3) intrinsic matrix of the wider pinhole picture: square pixels, centred."""
        width, height = self.pinhole_size
        return np.array([[self.focal[0], 0, (width - 1) / 2], [0, self.focal[0], (height - 1) / 2], [0, 0, 1.0]])


VIEWS = (
    View(
        "cam01",
        (640, 480),
        (742.0, 741.1),
        (322.4, 236.1),
        (-0.105, 0.021, 0.0, 0.0, 0.0),
        (2.75, -2.95, 1.62),
        (0.05, 0.0, 0.94),
    ),
    View(
        "cam02",
        (480, 640),
        (824.5, 823.9),
        (237.2, 322.8),
        (-0.088, 0.012, 0.0004, -0.0003, 0.0),
        (3.1, 2.35, 1.25),
        (0.14, -0.17, 0.98),
    ),
    View(
        "cam03",
        (640, 480),
        (731.3, 731.3),
        (317.9, 241.7),
        (-0.112, 0.026, 0.0, 0.0, 0.0),
        (-2.6, 2.8, 2.15),
        (0.0, 0.0, 0.93),
    ),
    View(
        "cam04",
        (640, 480),
        (765.8, 766.7),
        (320.8, 243.0),
        (-0.096, 0.015, -0.0003, 0.0005, 0.0),
        (-2.95, -2.5, 1.38),
        (0.25, -0.24, 0.97),
    ),
)


# --- rendering -----------------------------------------------------------------------------------------------------


def set_up(bpy: Any, samples: int) -> None:
    """Set the renderer: Cycles on the CPU, one bounce, no denoiser, plain sRGB."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.max_bounces = 2
    scene.cycles.diffuse_bounces = 1
    scene.cycles.glossy_bounces = 1
    scene.cycles.caustics_reflective = False
    scene.cycles.seed = SEED
    scene.render.use_persistent_data = True
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.resolution_percentage = 100


def point_camera(bpy: Any, view: View) -> None:
    """Put the scene's camera where a view's pinhole picture is taken."""
    from mathutils import Matrix

    scene = bpy.context.scene
    if scene.camera is None:
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
    width, height = view.pinhole_size
    scene.render.resolution_x, scene.render.resolution_y = width, height
    lens = scene.camera.data
    lens.sensor_fit, lens.sensor_width = "HORIZONTAL", 36.0
    lens.lens = view.pinhole_K[0, 0] * 36.0 / width
    R, _ = view.cam_from_world
    placed = np.eye(4)
    placed[:3, :3] = R.T @ np.diag([1.0, -1, -1])  # Blender's cameras look along -z with y up
    placed[:3, 3] = view.place
    scene.camera.matrix_world = Matrix(placed.tolist())


def render(bpy: Any, path: Path, samples: int) -> np.ndarray:
    """Render the scene into a file and return it as (h, w, 3) BGR."""
    scene = bpy.context.scene
    scene.cycles.samples = samples
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def person_region(view: View, vertices: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom (px; the last two excluded) around person and shadow in the pinhole picture."""
    R, t = view.cam_from_world
    shadow = vertices[::7] * [1, 1, 0] + np.array([[[0.3, 0.3, 0]], [[-0.3, -0.3, 0]]])
    points = np.concatenate([vertices[::7], *shadow]) @ R.T + t
    px = points @ view.pinhole_K.T
    px = px[:, :2] / px[:, 2:]
    width, height = view.pinhole_size
    low = np.clip(np.floor(px.min(axis=0)) - REGION_PX, 0, (width, height)).astype(int)
    high = np.clip(np.ceil(px.max(axis=0)) + REGION_PX, 0, (width, height)).astype(int)
    return low[0], low[1], high[0], high[1]


def render_region(
    bpy: Any, path: Path, region: tuple[int, int, int, int], plate: np.ndarray, person: np.ndarray, samples: int
) -> np.ndarray:
    """Render a region of the pinhole picture; put person (mask (h, w)) and shadow into the empty room's picture."""
    left, top, right, bottom = region
    height, width = plate.shape[:2]
    settings = bpy.context.scene.render
    settings.use_border, settings.use_crop_to_border = True, False
    settings.border_min_x, settings.border_max_x = left / width, right / width
    settings.border_min_y, settings.border_max_y = 1 - bottom / height, 1 - top / height
    picture = render(bpy, path, samples)
    settings.use_border = False
    inside = np.zeros((height, width), np.float32)
    inside[top + 2 : bottom - 2, left + 2 : right - 2] = 1
    return composite(picture, plate, person, inside)


def composite(picture: np.ndarray, plate: np.ndarray, person: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Take the person from a picture and its soft shadow on the empty room, without the picture's sampling noise.

    Args:
        picture: (h, w, 3) with the person; meaningless where ``inside`` is 0.
        plate: (h, w, 3) the empty room.
        person: (h, w) 1 on the person.
        inside: (h, w) 1 where the picture was rendered.

    Returns:
        (h, w, 3) uint8: around the person the room is darkened by the blurred ratio of the two pictures.
    """
    near = cv2.dilate(person, np.ones((5, 5), np.uint8)).astype(np.float32)
    room = (inside * (1 - near))[..., None]
    lit, empty = (
        cv2.GaussianBlur(image * room, (0, 0), 7) for image in (picture.astype(np.float32), plate.astype(np.float32))
    )
    ratio = np.where(empty > 1e-3, lit / np.maximum(empty, 1e-3), 1)
    edge = np.clip(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3) / 24, 0, 1)[..., None]
    shaded = plate * (1 + edge * (ratio - 1))
    weight = cv2.GaussianBlur(near, (0, 0), 0.8)[..., None] * inside[..., None]
    return np.clip(weight * picture + (1 - weight) * shaded, 0, 255).round().astype(np.uint8)


def silhouette(view: View, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return (h, w) uint8, 1 where the faces (F, 4) cover the pinhole picture."""
    R, t = view.cam_from_world
    px = (vertices @ R.T + t) @ view.pinhole_K.T
    px = px[:, :2] / px[:, 2:]
    width, height = view.pinhole_size
    mask = np.zeros((height, width), np.uint8)
    for corners in np.round(px[faces] * 16).astype(np.int32):  # one call of OpenCV per face
        cv2.fillConvexPoly(mask, corners, 1, cv2.LINE_8, 4)
    return mask


def through_lens(view: View, pinhole: np.ndarray) -> np.ndarray:
    """Warp a pinhole picture through a view's own lens; the centre of the first pixel is (0, 0)."""
    width, height = view.size
    u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    px = np.stack([u.ravel(), v.ravel()], axis=1)[:, None]
    accurate = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
    source = cv2.undistortPointsIter(px, view.K, np.array(view.distortion), np.eye(3), view.pinhole_K, accurate)
    maps = source.reshape(height, width, 2).astype(np.float32)
    if maps.min() < 0 or (maps.max(axis=(0, 1)) > np.array(view.pinhole_size) - 1).any():
        raise ValueError(f"view {view.name}: the pinhole picture is too narrow for the lens; raise MARGIN")
    return cv2.remap(pinhole, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC)


def project(view: View, points: np.ndarray) -> np.ndarray:
    """Return (..., 2) px of world points (..., 3) through a view's lens."""
    R, t = view.cam_from_world
    px, _ = cv2.projectPoints(points.reshape(-1, 1, 3), cv2.Rodrigues(R)[0], t, view.K, np.array(view.distortion))
    return px.reshape(*points.shape[:-1], 2)


def render_views(bpy: Any, body: dict[str, np.ndarray], options: argparse.Namespace, frames: list[int]) -> None:
    """Render the chosen frames of the chosen views into the work folder; pictures that are there stay."""
    person = build_person(bpy, body)
    for view in options.views:
        folder = options.work / view.name
        folder.mkdir(parents=True, exist_ok=True)
        point_camera(bpy, view)
        plate_file = folder / "plate.png"
        person.hide_render = True
        plate = cv2.imread(str(plate_file)) if plate_file.exists() else render(bpy, plate_file, 4 * options.samples)
        plate = cv2.fastNlMeansDenoisingColored(plate, None, 2.5, 2.5, 5, 15)
        person.hide_render = False
        for frame in frames:
            path = folder / f"{frame:04d}.png"
            if path.exists():
                continue
            vertices = body["vertices"][frame]
            person.data.vertices.foreach_set("co", vertices.ravel())
            person.data.update()
            bpy.context.scene.cycles.seed = SEED + frame
            region = person_region(view, vertices)
            mask = silhouette(view, vertices, body["faces"])
            picture = render_region(bpy, folder / "region.png", region, plate, mask, options.samples)
            cv2.imwrite(str(path), through_lens(view, picture))


# --- writing the take ----------------------------------------------------------------------------------------------


def encode(view: View, work: Path, out: Path, frames: list[int], fps: int) -> None:
    """Encode one view's pictures as H.264 (yuv420p, BT.709)."""
    import av

    out.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(out), "w", options={"movflags": "faststart"}) as container:
        options = {"crf": "21", "preset": "slow", "colorprim": "bt709", "transfer": "bt709", "colormatrix": "bt709"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height = view.size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = cv2.imread(str(work / view.name / f"{frame:04d}.png"))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())


def cameras(views: Sequence[View]) -> list[Camera]:
    """Return the views' cameras as Sightline knows them."""
    lenses = [Intrinsics(view.name, view.size, view.K, np.array(view.distortion)) for view in views]
    return [Camera(lens, *view.cam_from_world) for lens, view in zip(lenses, views, strict=True)]


def write_take(out: Path, body: dict[str, np.ndarray], work: Path) -> None:
    """Encode the videos and write calibration and truth; take.toml and README.md are kept by hand."""
    times = body["timestamps_s"]
    fps = round(1 / (times[1] - times[0]))
    for view in VIEWS:
        encode(view, work, out / "videos" / f"{view.name}.mp4", list(range(len(times))), fps)
    write_anipose_toml(out / "calibration.toml", cameras(VIEWS))
    np.savez_compressed(out / "truth.npz", joint_names=body["joint_names"], xyz=body["xyz"], timestamps_s=times)


def write_picture(path: Path, work: Path, frame: int, height: int = 300) -> None:
    """Write one frame of all views side by side, for the documentation."""
    pictures = [cv2.imread(str(work / view.name / f"{frame:04d}.png")) for view in VIEWS]
    sizes = [(round(view.size[0] * height / view.size[1]), height) for view in VIEWS]
    row = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image, size in zip(pictures, sizes, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.hstack(row), [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    """Render the take, or a part of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder of the take; without it nothing is encoded")
    parser.add_argument("--work", type=Path, default=Path("build") / "example_take", help="pictures, kept between runs")
    parser.add_argument("--frames", help="comma-separated frames instead of all")
    parser.add_argument("--views", default=",".join(view.name for view in VIEWS))
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--picture", type=Path, help="write frame 48 of all views here, side by side")
    options = parser.parse_args()
    options.views = [view for view in VIEWS if view.name in options.views.split(",")]
    body = dict(np.load(options.body, allow_pickle=False))
    frames = [int(n) for n in options.frames.split(",")] if options.frames else list(range(len(body["timestamps_s"])))
    import bpy  # after the options: it takes seconds

    bpy.ops.wm.read_factory_settings(use_empty=True)
    set_up(bpy, options.samples)
    build_room(bpy)
    light_room(bpy)
    render_views(bpy, body, options, frames)
    if options.out is not None and not options.frames and len(options.views) == len(VIEWS):
        write_take(options.out, body, options.work)
    if options.picture is not None:
        write_picture(options.picture, options.work, 48)


if __name__ == "__main__":
    main()
