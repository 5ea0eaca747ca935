"""Convert a TensorFlow Lite network to ONNX, so that every execution provider can run it.

TensorFlow Lite keeps images as (batch, height, width, channels), ONNX as (batch, channels, height, width).
Inside the ONNX graph every four-dimensional tensor has ONNX's order; inputs and outputs of the network keep
TensorFlow's, with one transposition at each. The batch is free where TensorFlow Lite had 1.
The same file always gives the same bytes, so the result can be pinned by its hash.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .tflite_graph import TfliteGraph, TfliteOperator, read_tflite

OPSET = 18
_IR_VERSION = 8
_NCHW_FROM_NHWC = (0, 3, 1, 2)
_NHWC_FROM_NCHW = (0, 2, 3, 1)

# Codes of the TensorFlow Lite schema.
_SAME = 0
_ACTIVATIONS = {0: (), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}  # none, relu, relu_n1_to_1, relu6


def convert_tflite(path: Path, names: Mapping[str, str], leave_out: Collection[str] = ()) -> bytes:
    """Convert a ``.tflite`` network to a serialized ONNX model.

    Convention:
        inputs and outputs keep TensorFlow Lite's axis order and float32 values; axis 0, the batch, is free.

    Args:
        path: the network.
        names: new names of inputs and outputs; those not named keep theirs.
        leave_out: outputs (by their new names) that go, together with all that only they need.

    Returns:
        The bytes of the ``.onnx`` file.

    Raises:
        ModelError: a package is missing, the file is damaged, or it holds something that we do not convert.
    """
    onnx, graph = _onnx(), read_tflite(path)
    refusals = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        model = _Writer(onnx, graph, names).model(leave_out)
        onnx.checker.check_model(model, full_check=True)
    except (*refusals, ArithmeticError, LookupError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path.name}: the network contradicts itself ({reason[:160]}); get it again") from error
    return model.SerializeToString(deterministic=True)


def _onnx() -> Any:
    try:
        onnx = importlib.import_module("onnx")
        importlib.import_module("onnx.numpy_helper")
        importlib.import_module("onnx.checker")
        importlib.import_module("onnx.shape_inference")
        return onnx
    except ImportError as error:
        raise ModelError("converting a network needs the package 'onnx'; run: pip install tflite onnx") from error


class _Writer:
    """The ONNX graph as it grows. Tensor i of the TensorFlow Lite graph is called ``t<i>``."""

    def __init__(self, onnx: Any, graph: TfliteGraph, names: Mapping[str, str]) -> None:
        self.onnx = onnx
        self.graph = graph
        self.names = names
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def model(self, leave_out: Collection[str]) -> Any:
        graph, helper = self.graph, self.onnx.helper
        kept = [i for i in graph.outputs if self.public_name(i) not in leave_out]
        if len(kept) != len(graph.outputs) - len(leave_out):
            raise ModelError(f"{graph.file}: cannot leave out {', '.join(leave_out)}: no such outputs")
        inputs = [self._enter(i) for i in graph.inputs]
        for operator in _needed(graph.operators, kept):
            if operator.kind not in _CONVERTERS:
                known = ", ".join(sorted(_CONVERTERS))
                raise ModelError(f"{graph.file}: operator {operator.kind} cannot be converted; known: {known}")
            _CONVERTERS[operator.kind](self, operator)
        outputs = [self._leave(i) for i in kept]
        body = helper.make_graph(self.nodes, Path(graph.file).stem, inputs, outputs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(body, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="sightline")

    def _enter(self, tensor: int) -> Any:
        name = self.public_name(tensor)
        if len(self.graph.shapes[tensor]) == 4:
            self.node("Transpose", [name], f"t{tensor}", perm=_NCHW_FROM_NHWC)
        else:
            self.node("Identity", [name], f"t{tensor}")
        return self._value_info(name, tensor)

    def _leave(self, tensor: int) -> Any:
        name = self.public_name(tensor)
        if len(self.graph.shapes[tensor]) == 4:
            self.node("Transpose", [f"t{tensor}"], name, perm=_NHWC_FROM_NCHW)
        else:
            self.node("Identity", [f"t{tensor}"], name)
        return self._value_info(name, tensor)

    def public_name(self, tensor: int) -> str:
        name = self.graph.names[tensor]
        return self.names.get(name, name)

    def _value_info(self, name: str, tensor: int) -> Any:
        shape = list(self.graph.shapes[tensor])
        if not shape or shape[0] != 1:
            raise ModelError(f"{self.graph.file}: {name!r} of shape {shape} has no batch of one; cannot be converted")
        return self.onnx.helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, ["batch", *shape[1:]])

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=f"{kind}_{output}", **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self.initializers:
            tensor = self.onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)
            self.initializers[name] = tensor
        return name

    def value(self, tensor: int, rank: int) -> str:
        """Name of a tensor in ONNX's order; a constant is first broadcast to the rank."""
        if tensor not in self.graph.constants:
            return f"t{tensor}"
        values = self.graph.constants[tensor]
        values = values.reshape((1,) * (rank - values.ndim) + values.shape)
        return self.constant(f"t{tensor}", values.transpose(_NCHW_FROM_NHWC) if rank == 4 else values)

    def parameter(self, op: TfliteOperator, index: int) -> NDArray[Any]:
        """An input that must be constant: weights, paddings, sizes."""
        tensor = op.inputs[index]
        if tensor not in self.graph.constants:
            raise ModelError(f"{self.graph.file}: {op.kind} with input {index} computed at run time is not supported")
        return self.graph.constants[tensor]

    def activated(self, op: TfliteOperator, kind: str, inputs: list[str], **attributes: Any) -> None:
        """Add a node and the activation that TensorFlow Lite fuses with it."""
        code = op.options["FusedActivationFunction"]
        if code not in _ACTIVATIONS:
            raise ModelError(f"{self.graph.file}: {op.kind} with fused activation {code} is not supported")
        output = f"t{op.outputs[0]}"
        if not _ACTIVATIONS[code]:
            self.node(kind, inputs, output, **attributes)
            return
        self.node(kind, inputs, f"{output}_linear", **attributes)
        low, high = _ACTIVATIONS[code]
        if high is None:
            self.node("Relu", [f"{output}_linear"], output)
        else:
            bounds = [self.constant(f"bound_{bound:g}", np.array(bound, dtype=np.float32)) for bound in (low, high)]
            self.node("Clip", [f"{output}_linear", *bounds], output)

    def rank(self, tensor: int) -> int:
        return len(self.graph.shapes[tensor])


def _needed(operators: Sequence[TfliteOperator], outputs: Iterable[int]) -> list[TfliteOperator]:
    """The operators that the outputs depend on, in the same order."""
    wanted, needed = set(outputs), []
    for operator in reversed(operators):
        if wanted.intersection(operator.outputs):
            wanted.update(operator.inputs)
            needed.append(operator)
    return needed[::-1]


def _conv(writer: _Writer, op: TfliteOperator) -> None:
    _add_conv(writer, op, writer.parameter(op, 1).transpose(0, 3, 1, 2), groups=1)


def _depthwise_conv(writer: _Writer, op: TfliteOperator) -> None:
    # (1, h, w, channels · multiplier) → (channels · multiplier, 1, h, w)
    channels = writer.graph.shapes[op.inputs[0]][3]
    _add_conv(writer, op, writer.parameter(op, 1).transpose(3, 0, 1, 2), groups=channels)


def _add_conv(
    writer: _Writer,
    op: TfliteOperator,
    weights: NDArray[Any],  # (out, in / groups, h, w)
    groups: int,
) -> None:
    file = writer.graph.file
    in_channels = writer.graph.shapes[op.inputs[0]][3]
    if weights.shape[1] * groups != in_channels:
        raise ModelError(f"{file}: {op.kind} with {weights.shape} weights on {in_channels} channels is not supported")
    kernel, dilation = weights.shape[2:], (op.options["DilationHFactor"], op.options["DilationWFactor"])
    inputs = [f"t{op.inputs[0]}", writer.constant(f"weights_{op.outputs[0]}", weights)]
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        inputs.append(writer.constant(f"t{op.inputs[2]}", writer.parameter(op, 2)))
    window = _window(writer.graph, op, kernel, dilation)
    writer.activated(op, "Conv", inputs, kernel_shape=kernel, dilations=dilation, group=groups, **window)


def _max_pool(writer: _Writer, op: TfliteOperator) -> None:
    if any(other.kind == "PAD" and op.inputs[0] in other.outputs for other in writer.graph.operators):
        # ONNX Runtime 1.31 fuses the two and then pads with -inf instead of 0: silently another result.
        raise ModelError(f"{writer.graph.file}: MAX_POOL_2D right after PAD is not supported")
    kernel = (op.options["FilterHeight"], op.options["FilterWidth"])
    window = _window(writer.graph, op, kernel, (1, 1))
    writer.activated(op, "MaxPool", [f"t{op.inputs[0]}"], kernel_shape=kernel, **window)


def _window(
    graph: TfliteGraph, op: TfliteOperator, kernel: tuple[int, ...], dilation: tuple[int, int]
) -> dict[str, tuple[int, ...]]:
    """Strides and explicit pads; SAME puts the odd pixel at the end, as TensorFlow does."""
    strides = (op.options["StrideH"], op.options["StrideW"])
    pads = [(0, 0), (0, 0)]
    if op.options["Padding"] == _SAME:
        sizes = graph.shapes[op.inputs[0]][1:3]
        pads = [_same(*axis) for axis in zip(sizes, kernel, strides, dilation, strict=True)]
    return {"strides": strides, "pads": (pads[0][0], pads[1][0], pads[0][1], pads[1][1])}


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    steps = -(-size // stride)
    total = max((steps - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _pad(writer: _Writer, op: TfliteOperator) -> None:
    amounts = writer.parameter(op, 1).astype(np.int64)  # (rank, 2)
    if writer.rank(op.inputs[0]) == 4:
        amounts = amounts[list(_NCHW_FROM_NHWC)]
    pads = writer.constant("pads_" + "_".join(map(str, amounts.ravel())), amounts.T.ravel())
    writer.node("Pad", [f"t{op.inputs[0]}", pads], f"t{op.outputs[0]}", mode="constant")


def _add(writer: _Writer, op: TfliteOperator) -> None:
    rank = writer.rank(op.outputs[0])
    if any(i not in writer.graph.constants and writer.rank(i) != rank for i in op.inputs):
        raise ModelError(f"{writer.graph.file}: ADD of tensors with different rank is not supported")
    writer.activated(op, "Add", [writer.value(i, rank) for i in op.inputs])


def _concatenate(writer: _Writer, op: TfliteOperator) -> None:
    rank = writer.rank(op.outputs[0])
    axis = op.options["Axis"] % rank
    if rank == 4:
        axis = _NCHW_FROM_NHWC.index(axis)
    writer.activated(op, "Concat", [writer.value(i, rank) for i in op.inputs], axis=axis)


def _resize_bilinear(writer: _Writer, op: TfliteOperator) -> None:
    # By scales over all axes: ONNX Runtime 1.31 cannot optimise sizes given for two axes next to a Transpose.
    sizes = writer.graph.shapes[op.inputs[0]][1:3]
    wanted = writer.parameter(op, 1)
    factors = np.array([1, 1, wanted[0] / sizes[0], wanted[1] / sizes[1]], dtype=np.float32)
    if any(int(np.float32(n) * factor) != out for n, factor, out in zip(sizes, factors[2:], wanted, strict=True)):
        raise ModelError(f"{writer.graph.file}: RESIZE_BILINEAR from {sizes} to {tuple(wanted)} is not supported")
    mode = "asymmetric"
    if op.options["HalfPixelCenters"]:
        mode = "half_pixel"
    elif op.options["AlignCorners"]:
        mode = "align_corners"
    scales = writer.constant("scales_" + "_".join(f"{factor:.9g}" for factor in factors), factors)
    inputs = [f"t{op.inputs[0]}", "", scales]
    writer.node("Resize", inputs, f"t{op.outputs[0]}", mode="linear", coordinate_transformation_mode=mode)


def _reshape(writer: _Writer, op: TfliteOperator) -> None:
    source, target = writer.graph.shapes[op.inputs[0]], writer.graph.shapes[op.outputs[0]]
    if source[:1] != (1,) or target[:1] != (1,):
        raise ModelError(f"{writer.graph.file}: RESHAPE of {source} to {target} mixes the batch; not supported")
    name, output = f"t{op.inputs[0]}", f"t{op.outputs[0]}"
    if _order_matters(source):
        name = writer.node("Transpose", [name], f"{output}_from", perm=_NHWC_FROM_NCHW)
    # 0 keeps the batch. A target without spatial extent has the same elements in both orders.
    order_matters = _order_matters(target)
    wanted = target if order_matters or len(target) != 4 else [target[i] for i in _NCHW_FROM_NHWC]
    shape = np.array([0, *wanted[1:]], dtype=np.int64)
    shape_name = writer.constant("shape_" + "_".join(map(str, shape)), shape)
    writer.node("Reshape", [name, shape_name], f"{output}_to" if order_matters else output)
    if order_matters:
        writer.node("Transpose", [f"{output}_to"], output, perm=_NCHW_FROM_NHWC)


def _order_matters(shape: Iterable[int]) -> bool:
    """Whether the elements of a tensor of this shape (b, h, w, c) stand in another order in ONNX."""
    shape = tuple(shape)
    return len(shape) == 4 and shape[1] * shape[2] > 1 and shape[3] > 1


def _depth_to_space(writer: _Writer, op: TfliteOperator) -> None:
    block = op.options["BlockSize"]
    writer.node("DepthToSpace", [f"t{op.inputs[0]}"], f"t{op.outputs[0]}", blocksize=block, mode="DCR")


def _logistic(writer: _Writer, op: TfliteOperator) -> None:
    writer.node("Sigmoid", [f"t{op.inputs[0]}"], f"t{op.outputs[0]}")


_CONVERTERS: dict[str, Callable[[_Writer, TfliteOperator], None]] = {
    "ADD": _add,
    "CONCATENATION": _concatenate,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise_conv,
    "DEPTH_TO_SPACE": _depth_to_space,
    "LOGISTIC": _logistic,
    "MAX_POOL_2D": _max_pool,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize_bilinear,
}
