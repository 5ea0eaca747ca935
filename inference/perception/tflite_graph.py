"""Read a TensorFlow Lite network: operators, tensors and constants, as plain data.

Weights that are stored as 16-bit floats or in sparse form come out as dense float32 constants, so the
operators that would unpack them at run time (DEQUANTIZE, DENSIFY) are gone from the graph.
Schema: TensorFlow Lite version 3 flatbuffers, through the package ``tflite``.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

_DTYPES = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT32": np.int32, "INT64": np.int64}

_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_DILATED = (*_WINDOW, "DilationHFactor", "DilationWFactor")

# Options table of each operator that we read, and the fields taken from it.
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", _DILATED),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _DILATED),
    "MAX_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", ("BlockSize",)),
}

# One level of a sparse constant: its size where it is dense, else row starts and column indices.
Level = int | tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class TfliteOperator:
    """One operator: its kind (``CONV_2D``), the tensors it reads (-1 = left out) and writes, its options."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class TfliteGraph:
    """A network with constant weights; tensors are known by number."""

    file: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: Mapping[int, NDArray[Any]]
    operators: tuple[TfliteOperator, ...]  # in an order that can be run
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(path: Path) -> TfliteGraph:
    """Read the first subgraph of a ``.tflite`` file.

    Convention:
        shapes and constants keep TensorFlow's order (batch, height, width, channels).

    Raises:
        ModelError: the package ``tflite`` is missing, or the file is not a network that we can read.
    """
    data = _read(path)
    schema = _schema()
    try:
        return _Reader(schema, path.name, data).graph()
    except (struct.error, LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"{path.name}: the TensorFlow Lite file is damaged ({error}); get it again") from error


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path.name}: cannot be read ({error.strerror}); check the path") from error
    if data[4:8] != b"TFL3":
        raise ModelError(f"{path.name}: not a TensorFlow Lite file of version 3; give a .tflite network")
    return data


def _schema() -> Any:
    try:
        return importlib.import_module("tflite")
    except ImportError as error:
        raise ModelError("converting a network needs the package 'tflite'; run: pip install tflite onnx") from error


class _Reader:
    """One file being read."""

    def __init__(self, schema: Any, file: str, data: bytes) -> None:
        self.schema = schema
        self.file = file
        self.model = schema.Model.GetRootAsModel(data, 0)
        self.subgraph = self.model.Subgraphs(0)
        self.types = _names_by_code(schema.TensorType)
        self.kinds = _names_by_code(schema.BuiltinOperator)

    def graph(self) -> TfliteGraph:
        sub = self.subgraph
        tensors = [sub.Tensors(i) for i in range(sub.TensorsLength())]
        constants = {i: values for i, t in enumerate(tensors) if (values := self._stored(t)) is not None}
        operators = []
        for operator in (self._operator(i) for i in range(sub.OperatorsLength())):
            if not self._fold(operator, constants):
                operators.append(operator)
        return TfliteGraph(
            file=self.file,
            names=tuple(t.Name().decode() for t in tensors),
            shapes=tuple(tuple(int(n) for n in t.ShapeAsNumpy()) if t.ShapeLength() else () for t in tensors),
            constants=constants,
            operators=tuple(operators),
            inputs=tuple(sub.Inputs(i) for i in range(sub.InputsLength())),
            outputs=tuple(sub.Outputs(i) for i in range(sub.OutputsLength())),
        )

    def _stored(self, tensor: Any) -> NDArray[Any] | None:
        """Values of a constant tensor; those of a sparse one are still packed, one-dimensional."""
        buffer = self.model.Buffers(tensor.Buffer())
        if buffer.DataLength() == 0:
            return None
        kind = self.types[tensor.Type()]
        if kind not in _DTYPES:
            raise ModelError(f"{self.file}: constant {tensor.Name().decode()!r} is {kind}; only floats are supported")
        values = buffer.DataAsNumpy().view(np.dtype(_DTYPES[kind]).newbyteorder("<"))
        shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
        return values if tensor.Sparsity() is not None else values.reshape(shape)

    def _operator(self, index: int) -> TfliteOperator:
        op = self.subgraph.Operators(index)
        code = self.model.OperatorCodes(op.OpcodeIndex())
        kind = self.kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        return TfliteOperator(
            kind=kind,
            inputs=tuple(op.Inputs(i) for i in range(op.InputsLength())),
            outputs=tuple(op.Outputs(i) for i in range(op.OutputsLength())),
            options=self._options(kind, op),
        )

    def _options(self, kind: str, op: Any) -> dict[str, int]:
        if kind not in _OPTIONS or op.BuiltinOptions() is None:
            return {}
        name, fields = _OPTIONS[kind]
        table = op.BuiltinOptions()
        options = getattr(self.schema, name)()
        options.Init(table.Bytes, table.Pos)
        return {field: int(getattr(options, field)()) for field in fields}

    def _fold(self, op: TfliteOperator, constants: dict[int, NDArray[Any]]) -> bool:
        """Whether the operator only unpacks a constant; its result is then kept among the constants."""
        if op.kind not in ("DEQUANTIZE", "DENSIFY"):
            return False
        source = op.inputs[0]
        if source not in constants:
            raise ModelError(f"{self.file}: {op.kind} of a tensor that is no constant is not supported")
        values = constants[source]
        if op.kind == "DENSIFY":
            tensor = self.subgraph.Tensors(source)
            values = densify(values, tuple(tensor.ShapeAsNumpy()), *_sparsity(self.schema, tensor.Sparsity()))
        elif values.dtype != np.float16:
            raise ModelError(f"{self.file}: DEQUANTIZE of {values.dtype} is not supported; only float16 weights are")
        else:
            values = values.astype(np.float32)
        constants[op.outputs[0]] = values
        return True


def _names_by_code(enumeration: Any) -> dict[int, str]:
    return {code: name for name, code in vars(enumeration).items() if isinstance(code, int)}


def _sparsity(schema: Any, sparsity: Any) -> tuple[tuple[int, ...], tuple[int, ...], list[Level]]:
    """Traversal order, block map, and the storage of each level."""
    levels: list[Level] = []
    for level in (sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())):
        if level.Format() == schema.DimensionType.DENSE:
            levels.append(level.DenseSize())
        else:
            segments = _int_vector(schema, level.ArraySegmentsType(), level.ArraySegments())
            levels.append((segments, _int_vector(schema, level.ArrayIndicesType(), level.ArrayIndices())))
    order = tuple(sparsity.TraversalOrder(i) for i in range(sparsity.TraversalOrderLength()))
    blocks = tuple(sparsity.BlockMap(i) for i in range(sparsity.BlockMapLength()))
    return order, blocks, levels


def _int_vector(schema: Any, kind: int, table: Any) -> NDArray[np.int64]:
    """Integers of one of the schema's three vector tables, which differ in width."""
    vector = getattr(schema, _names_by_code(schema.SparseIndexVector)[kind])()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy(), dtype=np.int64)


def densify(
    values: NDArray[Any],  # (nonzeros,)
    shape: tuple[int, ...],
    order: tuple[int, ...],
    blocks: tuple[int, ...],
    levels: list[Level],
) -> NDArray[Any]:
    """Unpack a sparse constant.

    Every level of the storage tree multiplies the list of positions: a dense level by its size, a
    compressed one by its row lengths. A dimension stored in blocks has an outer and an inner level.

    Convention:
        ``order[l]`` is the dimension that level l walks; from ``len(shape)`` on they are the block
        dimensions, and block b splits dimension ``blocks[b]``. Values not stored are 0.

    Returns:
        Array of the shape.
    """
    position = np.zeros(1, dtype=np.int64)
    coordinates = np.zeros((len(order), 1), dtype=np.int64)
    for dimension, level in zip(order, levels, strict=True):
        if isinstance(level, int):
            count = np.full(len(position), level)
            start = position * level
        else:
            count = level[0][position + 1] - level[0][position]
            start = level[0][position]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        position = np.repeat(start, count) + within
        coordinates = np.repeat(coordinates, count, axis=1)
        coordinates[dimension] = within if isinstance(level, int) else level[1][position]
    where = coordinates[: len(shape)]
    for block, dimension in enumerate(blocks):
        size = levels[order.index(len(shape) + block)]
        where[dimension] = where[dimension] * size + coordinates[len(shape) + block]
    dense = np.zeros(shape, dtype=values.dtype)
    dense[tuple(where)] = values
    return dense
