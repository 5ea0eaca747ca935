"""Networks of a few nodes with known outputs, and cards for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def constant_network(
    path: Path, size: tuple[int, int], outputs: dict[str, NDArray], batches: bool = True, order: str = "NCHW"
) -> None:
    """Write a network that gives the same arrays (without batch axis) for every picture of a batch."""
    width, height = size
    batch = "n" if batches else 1
    shape = [batch, 3, height, width] if order == "NCHW" else [batch, height, width, 3]
    # The sum of the picture times zero carries the batch axis to every output.
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    initializers = [numpy_helper.from_array(np.float32(0), "zero")]
    for name, array in outputs.items():
        array = np.asarray(array, dtype=np.float32)
        initializers.append(numpy_helper.from_array(array[None], f"{name}_value"))
        initializers.append(numpy_helper.from_array(np.array([-1] + [1] * array.ndim, dtype=np.int64), f"{name}_shape"))
        nodes.append(helper.make_node("Reshape", ["nothing", f"{name}_shape"], [f"{name}_nothing"]))
        nodes.append(helper.make_node("Add", [f"{name}_nothing", f"{name}_value"], [name]))
    save(path, nodes, {"image": shape}, {n: [batch, *np.shape(a)] for n, a in outputs.items()}, initializers)


def picture_network(path: Path, size: tuple[int, int]) -> None:
    """Write a network whose one heatmap is the mean of the picture's channels, at the picture's size."""
    width, height = size
    nodes = [helper.make_node("ReduceMean", ["image"], ["heatmaps"], axes=[1], keepdims=1)]
    save(path, nodes, {"image": ["n", 3, height, width]}, {"heatmaps": ["n", 1, height, width]}, [])


def save(path: Path, nodes: list, inputs: dict[str, list], outputs: dict[str, list], initializers: list) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        initializers,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def write_card(
    folder: Path,
    name: str,
    kind: str,
    outputs: dict[str, str],
    size: tuple[int, int] = (48, 64),
    **extra: str,
) -> Path:
    """Write a card for ``<name>.onnx`` in the same folder; ``extra`` holds TOML text by key or [table]."""
    digest = hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest()
    keys = {"layout": '"coco_17"', "person_detector": '"tiny_boxes"'} if "boxes" not in kind else {}
    keys.update({key: text for key, text in extra.items() if key not in ("input", "noise", "accuracy")})
    lines = [
        f'name = "{name}"',
        f'kind = "{kind}"',
        f'file = "{name}.onnx"',
        f'sha256 = "{digest}"',
        'licence = "CC0-1.0"',
        'provenance = "made by a test"',
        *[f"{key} = {text}" for key, text in keys.items()],
        "[input]",
        'name = "image"',
        f"size = [{size[0]}, {size[1]}]",
        extra.get("input", ""),
        "[outputs]",
        *[f'{key} = "{text}"' if isinstance(text, str) else f"{key} = {text}" for key, text in outputs.items()],
    ]
    lines += [f"[{table}]\n{extra[table]}" for table in ("noise", "accuracy") if table in extra]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
