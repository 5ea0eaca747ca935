"""The report of a calibration: every camera's residuals and coverage, what was seen and where it is put, a plan."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..calibration.fit import Fit
from ..errors import InputError
from ..footage import read_frame
from ..shapes import FloatArray
from ..types import Camera, CameraRig
from .camera_charts import coverage_chart, layout_chart
from .markup import Html, join, section, table, tag
from .overlay import Canvas, Window, draw_caption, draw_residuals, fit_canvas
from .preview import PAPER, jpeg
from .sections import warnings
from .stylesheet import STYLE

_PICTURE_WIDTH = 760
_CELLS = 8
_SHARP_PX = 2.0
_STYLE = """
.seen { fill: var(--soft); opacity: .5; } .camera { fill: var(--line); } .cone { fill: var(--faint); opacity: .55; }
.bar-line { stroke: var(--ink); stroke-width: 2; } .frame { fill: none; stroke: var(--soft); }
.residual { stroke: var(--ink); } .coverage { width: 100%; height: auto; overflow: hidden; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 14px; align-items: start; }
"""

Record = Mapping[str, Any]


def camera_facts(rig: CameraRig, fits: Sequence[Fit]) -> list[dict[str, Any]]:
    """Say of every camera where it stands, and how well it fits what it was solved from.

    Convention:
        metres, pixels; ``None`` where nothing was seen, there is no other camera, or cameras are taken as exact.
    """
    centres = np.array([camera.centre for camera in rig.cameras])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    by_view = {fit.view: fit for fit in fits}
    sigma = np.sqrt(np.diag(rig.covariance)).reshape(-1, 6)
    facts = []
    for index, camera in enumerate(rig.cameras):
        row: dict[str, Any] = {
            "name": camera.name,
            "image_size": camera.intrinsics.image_size,
            "focal_length_px": [camera.intrinsics.K[0, 0], camera.intrinsics.K[1, 1]],
            "centre_m": camera.centre,
            "nearest_camera_m": float(np.delete(apart[index], index).min()) if len(apart) > 1 else None,
            "rotation_sigma_deg": float(np.degrees(np.linalg.norm(sigma[index, :3]))) or None,
        }
        fit = by_view.get(camera.name)
        error = fit.error_px[np.isfinite(fit.error_px)] if fit is not None else np.zeros(0)
        if fit is not None and error.size:
            row |= {
                "observations": int(error.size),
                "median_error_px": float(np.median(error)),
                "p95_error_px": float(np.quantile(error, 0.95)),
                "coverage": _coverage(fit, camera),
            }
        facts.append(row)
    return facts


def build_camera_page(record: Record, rig: CameraRig, fits: Sequence[Fit], points: FloatArray) -> Html:
    """Put the page together; one file, nothing fetched from outside.

    Args:
        record: what report.json holds: take, gauge, cameras, warnings.
        rig: the cameras.
        fits: what they were solved from, or checked by; may be empty.
        points: (N, 3) m, of the scene, for the plan.
    """
    cameras = {camera.name: camera for camera in rig.cameras}
    shown = [_view(cameras[fit.view], fit) for fit in fits if len(fit.frame)]
    parts = [_heading(record), warnings(record), _table(record)]
    if shown:
        words = (
            "Left: one picture; a cross is what was seen, a ring is where the cameras put it. Right: all that was seen "
            "in this view, with residuals drawn longer than they are. Parts of the picture without dots say nothing "
            "about the lens there."
        )
        parts.append(section("What was seen", "views", tag("p", words, class_="soft"), *shown))
    words = "From above: x to the right, y up. Every camera with the width of its picture."
    parts.append(
        section("Where the cameras stand", "layout", tag("p", words, class_="soft"), layout_chart(rig.cameras, points))
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Sightline cameras: {record['take']}"),
        tag("style", Html(STYLE + _STYLE)),
    )
    return Html("<!DOCTYPE html>\n" + tag("html", head, tag("body", join(parts)), lang="en") + "\n")


def _heading(record: Record) -> Html:
    rows = record["cameras"]
    errors = [row["median_error_px"] for row in rows if "median_error_px" in row]
    widest = max(float(np.linalg.norm(np.subtract(a["centre_m"], b["centre_m"]))) for a in rows for b in rows)
    fitted = f"{max(errors):.2f} px" if errors else "–"
    tiles = (
        (str(len(rows)), "cameras"),
        (f"{widest:.2f} m" if len(rows) > 1 else "–", "between the two farthest apart; is that true?"),
        (fitted, "median error of the worst camera" if errors else "not checked; calibrate --check looks for people"),
        (str(len(record["warnings"])), "warnings"),
    )
    boxes = (tag("div", tag("b", value), tag("small", words), class_="tile") for value, words in tiles)
    about = f"World: {record['gauge']}."
    return tag(
        "header",
        tag("h1", f"Cameras of {record['take']}"),
        tag("div", about, class_="soft"),
        tag("div", *boxes, class_="tiles", style="margin-top:14px"),
    )


def _table(record: Record) -> Html:
    rows = []
    for row in record["cameras"]:
        turn, nearest = row["rotation_sigma_deg"], row["nearest_camera_m"]
        rows.append(
            (
                row["name"],
                "{} × {}".format(*row["image_size"]),
                f"{row['focal_length_px'][0]:.0f}",
                "–" if nearest is None else f"{nearest:.2f} m",
                str(row.get("observations", "–")),
                f"{row['median_error_px']:.2f} / {row['p95_error_px']:.2f}" if "median_error_px" in row else "–",
                f"{100 * row['coverage']:.0f} %" if "coverage" in row else "–",
                "–" if turn is None else f"{turn:.2f}°",
            )
        )
    headers = (
        "camera",
        "picture",
        "f, px",
        "nearest camera",
        "seen",
        "error, px (median / 95 %)",
        "coverage",
        "σ of rotation",
    )
    return section("Cameras", "cameras", table(headers, rows))


def _coverage(fit: Fit, camera: Camera) -> float:
    """Share of the picture's cells in which something was seen."""
    size = np.array(camera.intrinsics.image_size if fit.film is None else fit.film.image_size)
    cells = np.clip((fit.seen + 0.5) / size * _CELLS, 0, _CELLS - 1).astype(int)
    return len(np.unique(cells[:, 0] * _CELLS + cells[:, 1])) / _CELLS**2


def _view(camera: Camera, fit: Fit) -> Html:
    size = camera.intrinsics.image_size
    data = b64encode(jpeg(_overlay(camera, fit).image)).decode()
    picture = tag("img", src=f"data:image/jpeg;base64,{data}", alt=f"{fit.view}: seen and predicted")
    left = tag("figure", picture, style="max-width:none")
    sharp = np.nanmedian(fit.error_px) < _SHARP_PX  # corners of boards and clicks; joints of people are not
    good_px, magnified = (0.5, 20.0) if sharp else (4.0, 4.0)
    worst = f"Green is within {good_px:g} px, yellow within {4 * good_px:g} px; residuals {magnified:g} times as long. "
    if fit.names:
        order = np.argsort(-np.nan_to_num(fit.error_px, nan=np.inf))[:8]
        worst += "Worst points: " + ", ".join(f"{fit.names[i]} {fit.error_px[i]:.1f} px" for i in order)
    right = tag(
        "div", coverage_chart(size, fit.seen, fit.predicted, good_px, magnified), tag("p", worst, class_="soft")
    )
    return join([tag("h3", fit.view), tag("div", left, right, class_="pair")])


def _overlay(camera: Camera, fit: Fit) -> Canvas:
    """One picture, that in which most was seen, cut to it."""
    frames, counts = np.unique(fit.frame, return_counts=True)
    frame = int(frames[counts.argmax()])
    own = fit.frame == frame
    image, note = None, "  (no picture)"
    if fit.film is not None and 0 <= frame < len(fit.film.timestamps_s):
        try:
            image, note = read_frame(fit.film, frame), ""
        except InputError:  # the page can do without one picture
            pass
    if image is None:
        width, height = camera.intrinsics.image_size
        image = np.full((height, width, 3), PAPER, dtype=np.uint8)
    canvas = fit_canvas(image, _PICTURE_WIDTH, _window(fit.seen[own], (image.shape[1], image.shape[0])))
    draw_residuals(canvas, fit.seen[own], fit.predicted[own])
    draw_caption(canvas, f"{fit.view}   frame {frame + 1}{note}")
    return canvas


def _window(points: FloatArray, size: tuple[int, int]) -> Window:
    """The part of the picture around the points, at least a third of it."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.minimum(np.maximum(1.3 * (high - low), np.array(size) / 3), size)
    room = np.minimum(np.maximum(room, room[::-1] * [0.7, 0.5]), size)
    corner = np.clip((low + high) / 2 - room / 2, 0, size - room)
    return int(corner[0]), int(corner[1]), max(int(room[0]), 1), max(int(room[1]), 1)
