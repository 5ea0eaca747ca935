"""People made of coloured dots, and networks that see exactly them: one colour per joint of COCO-17."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.inference.perception.tiny_network import constant_network, save, write_card

SIZE = (96, 128)  # of the keypoint network's input
# Joints of a standing person in parts of its height: x from the middle, y from the top; COCO-17's order.
BODY = np.array(
    [[0, 0.12], [0.07, 0.03], [-0.07, 0.03], [0.14, 0.08], [-0.14, 0.08], [0.12, 0.22], [-0.12, 0.22]]
    + [[0.17, 0.36], [-0.17, 0.36], [0.2, 0.5], [-0.2, 0.5], [0.08, 0.52], [-0.08, 0.52], [0.1, 0.75], [-0.1, 0.75]]
    + [[0.1, 0.97], [-0.1, 0.97]]
)
COLOURS = np.array([[r, g, b] for r in (90, 170, 250) for g in (90, 170, 250) for b in (90, 250)][:17], dtype=np.uint8)


def joints_at(x: float, top: float, height: float) -> NDArray:
    """(17, 2) px."""
    return np.array([x, top]) + height * BODY


def picture(people: list[NDArray], size: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    """Draw each joint as a disc of its colour on black, sub-pixel."""
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    for joints in people:
        for (x, y), colour in zip(joints, COLOURS, strict=True):
            centre = (round(x * 16), round(y * 16))
            cv2.circle(image, centre, 40, tuple(int(c) for c in colour), cv2.FILLED, cv2.LINE_8, shift=4)
    return image


def write_networks(folder: Path, boxes: NDArray, scores: NDArray, batches: bool = True) -> None:
    """Write cards and networks ``dots`` (heatmaps by colour) and ``tiny_boxes`` (always the same boxes).

    Args:
        folder: for the four files.
        boxes: (N, 4) x1, y1, x2, y2 px of a 320 × 240 picture.
        scores: (N,).
        batches: whether the keypoint network takes several pictures at once.
    """
    constant_network(folder / "tiny_boxes.onnx", (320, 240), {"b": boxes, "s": scores})
    write_card(folder, "tiny_boxes", "boxes", {"boxes": "b", "scores": "s"}, size=(320, 240))
    colours = COLOURS.astype(np.float32)
    # exp(-k |p - c|²) = exp(2k c·p - k |p|² - k |c|²): one convolution over the colour, one over its square.
    k = 1 / 400
    initializers = [
        numpy_helper.from_array((2 * k * colours)[:, :, None, None], "linear"),
        numpy_helper.from_array(np.full((17, 3, 1, 1), -k, dtype=np.float32), "square"),
        numpy_helper.from_array((-k * (colours**2).sum(axis=1)).reshape(1, 17, 1, 1), "constant"),
    ]
    nodes = [
        helper.make_node("Mul", ["image", "image"], ["squared"]),
        helper.make_node("Conv", ["image", "linear"], ["a"]),
        helper.make_node("Conv", ["squared", "square"], ["b"]),
        helper.make_node("Sum", ["a", "b", "constant"], ["log"]),
        helper.make_node("Exp", ["log"], ["sharp"]),
        helper.make_node("AveragePool", ["sharp"], ["heatmaps"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    n = "n" if batches else 1
    shapes = {"image": [n, 3, SIZE[1], SIZE[0]]}
    save(folder / "dots.onnx", nodes, shapes, {"heatmaps": [n, 17, SIZE[1], SIZE[0]]}, initializers)
    write_card(
        folder,
        "dots",
        "heatmap",
        {"heatmaps": "heatmaps"},
        size=SIZE,
        input="range = [0.0, 255.0]",
        noise="sigma_px = 0.5\nheatmap_scale = 0.0",
    )
