"""Charts of the report on cameras, as inline SVG: where they stand, and what part of each picture speaks for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..shapes import FloatArray
from ..types import Camera
from .markup import Html, tag

SIZE = 620  # px of the layout
_MARGIN = 60
_MOST_DOTS = 1500  # of one picture
_ROUND = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def layout_chart(cameras: Sequence[Camera], points: FloatArray) -> Html:  # (N, 3) m
    """Draw the cameras from above, x to the right and y up, with the directions in which they look.

    Convention:
        metres in the world's x and y; the scale bar says how long one is. Points of the scene are small dots.
    """
    centres = np.array([camera.centre for camera in cameras])
    shown = np.concatenate([centres[:, :2], points[:_MOST_DOTS, :2]])
    low, high = shown.min(axis=0), shown.max(axis=0)
    extent = max(float((high - low).max()), 0.1)
    scale = (SIZE - 2 * _MARGIN) / extent
    middle = (low + high) / 2

    def place(xy: FloatArray) -> tuple[str, str]:
        x, y = SIZE / 2 + scale * (xy - middle) * [1, -1]
        return f"{x:.1f}", f"{y:.1f}"

    parts = [tag("circle", cx=x, cy=y, r="1.5", class_="seen") for x, y in map(place, points[:_MOST_DOTS, :2])]
    for camera, centre in zip(cameras, centres, strict=True):
        (width, _), K = camera.intrinsics.image_size, camera.intrinsics.K
        edges = [np.array([(u - K[0, 2]) / K[0, 0], 0, 1]) @ camera.R for u in (-0.5, width - 0.5)]
        corners = [centre[:2], *(centre[:2] + 0.16 * extent * edge[:2] for edge in edges)]
        parts.append(tag("polygon", points=" ".join(",".join(place(corner)) for corner in corners), class_="cone"))
        x, y = place(centre[:2])
        parts.append(tag("circle", cx=x, cy=y, r="5", class_="camera"))
        parts.append(
            tag("text", f"{camera.name}, {centre[2]:.2f} m up", x=x, y=f"{float(y) - 10:.1f}", text_anchor="middle")
        )
    bar = next((length for length in _ROUND if length * scale > 50), _ROUND[-1])
    parts.append(tag("line", x1=20, y1=SIZE - 20, x2=f"{20 + bar * scale:.1f}", y2=SIZE - 20, class_="bar-line"))
    parts.append(tag("text", f"{bar:g} m", x=20, y=SIZE - 28))
    drawing = tag("svg", *parts, viewBox=f"0 0 {SIZE} {SIZE}", role="img", aria_label="Cameras from above")
    return tag("div", drawing, class_="chart", style=f"max-width:{SIZE}px")


def coverage_chart(
    image_size: tuple[int, int],
    seen: FloatArray,  # (N, 2) px
    predicted: FloatArray,  # (N, 2) px
    good_px: float,
    magnified: float,
) -> Html:
    """Draw where in a view's picture the evidence lies, with residuals ``magnified`` times as long as they are.

    Convention:
        green: within ``good_px``, yellow: four times as much, red: more. At most so many dots, evenly thinned.
    """
    width, height = image_size
    step = max(1, -(-len(seen) // _MOST_DOTS))
    error = np.linalg.norm(predicted - seen, axis=-1)
    radius = 0.004 * max(image_size)
    parts = [tag("rect", x=-0.5, y=-0.5, width=width, height=height, class_="frame", stroke_width=f"{radius / 2:.2f}")]
    for (u, v), (p, q), off in zip(seen[::step], predicted[::step], error[::step], strict=True):
        grade = "g3" if off <= good_px else "g2" if off <= 4 * good_px else "g1" if np.isfinite(off) else "g0"
        parts.append(tag("circle", cx=f"{u:.1f}", cy=f"{v:.1f}", r=f"{radius:.1f}", class_=grade))
        if np.isfinite(off):
            end = f"{u + magnified * (p - u):.1f}", f"{v + magnified * (q - v):.1f}"
            line = {"x1": f"{u:.1f}", "y1": f"{v:.1f}", "x2": end[0], "y2": end[1]}
            parts.append(tag("line", class_="residual", stroke_width=f"{radius / 3:.2f}", **line))
    box = f"-0.5 -0.5 {width} {height}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label="Coverage", class_="coverage")
