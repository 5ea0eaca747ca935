"""TensorFlow Lite networks of one or two operators, written with the schema's own builders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import tflite

_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "int8": "INT8"}


@dataclass(frozen=True)
class Sparse:
    """Storage of a sparse constant, level by level: a size (dense) or (segments, indices) (compressed)."""

    order: tuple[int, ...]
    blocks: tuple[int, ...]
    levels: tuple[int | tuple[list[int], list[int]], ...]
    vector: str = "Int32Vector"  # or Uint16Vector, Uint8Vector: the width of segments and indices


@dataclass(frozen=True)
class Tensor:
    shape: tuple[int, ...]
    data: np.ndarray | None = None  # None: computed at run time
    dtype: str = "float32"
    sparse: Sparse | None = None


@dataclass(frozen=True)
class Operator:
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str = ""  # name of the schema's table
    values: Mapping[str, int] = field(default_factory=dict)


def network(
    tensors: Sequence[Tensor], operators: Sequence[Operator], inputs: Sequence[int], outputs: Sequence[int]
) -> bytes:
    """Return the bytes of a network; tensor i is called ``tensor<i>``."""
    b = flatbuffers.Builder(1024)
    buffers = [_buffer(b, b"")] + [_buffer(b, b"" if t.data is None else t.data.tobytes()) for t in tensors]
    names = [f"tensor{i}" for i in range(len(tensors))]
    made = [_tensor(b, t, i + 1, names[i]) for i, t in enumerate(tensors)]
    ops = [_operator(b, op, i) for i, op in enumerate(operators)]
    codes = [_code(b, op.kind) for op in operators]
    parts = {"Tensors": _offsets(b, made), "Operators": _offsets(b, ops)}
    parts |= {"Inputs": _ints(b, inputs), "Outputs": _ints(b, outputs)}
    subgraph = _table(b, "SubGraph", parts)
    model = {"Subgraphs": _offsets(b, [subgraph]), "OperatorCodes": _offsets(b, codes), "Buffers": _offsets(b, buffers)}
    b.Finish(_table(b, "Model", {"Version": 3, **model}), b"TFL3")
    return bytes(b.Output())


def _table(b: flatbuffers.Builder, name: str, fields: Mapping[str, int]) -> int:
    getattr(tflite, f"{name}Start")(b)
    for key, value in fields.items():
        getattr(tflite, f"{name}Add{key}")(b, value)
    return getattr(tflite, f"{name}End")(b)


def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    return b.CreateNumpyVector(np.asarray(values, dtype=np.int32))


def _offsets(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _buffer(b: flatbuffers.Builder, data: bytes) -> int:
    if not data:
        return _table(b, "Buffer", {})
    b.StartVector(1, len(data), 16)
    b.head -= len(data)
    b.Bytes[b.head : b.head + len(data)] = data
    return _table(b, "Buffer", {"Data": b.EndVector()})


def _tensor(b: flatbuffers.Builder, tensor: Tensor, buffer: int, name: str) -> int:
    dtype = str(tensor.data.dtype) if tensor.data is not None else tensor.dtype
    fields = {"Shape": _ints(b, tensor.shape), "Name": b.CreateString(name), "Buffer": buffer}
    fields["Type"] = getattr(tflite.TensorType, _TYPES[dtype])
    if tensor.sparse is not None:
        fields["Sparsity"] = _sparsity(b, tensor.sparse)
    return _table(b, "Tensor", fields)


def _sparsity(b: flatbuffers.Builder, sparse: Sparse) -> int:
    levels = []
    for level in sparse.levels:
        if isinstance(level, int):
            levels.append(_table(b, "DimensionMetadata", {"Format": 0, "DenseSize": level}))
            continue
        width = {"Int32Vector": np.int32, "Uint16Vector": np.uint16, "Uint8Vector": np.uint8}[sparse.vector]
        vectors = [b.CreateNumpyVector(np.asarray(values, dtype=width)) for values in level]
        segments, indices = (_table(b, sparse.vector, {"Values": vector}) for vector in vectors)
        kind = getattr(tflite.SparseIndexVector, sparse.vector)
        fields = {"Format": 1, "ArraySegmentsType": kind, "ArraySegments": segments}
        fields |= {"ArrayIndicesType": kind, "ArrayIndices": indices}
        levels.append(_table(b, "DimensionMetadata", fields))
    fields = {"DimMetadata": _offsets(b, levels), "TraversalOrder": _ints(b, sparse.order)}
    if sparse.blocks:
        fields["BlockMap"] = _ints(b, sparse.blocks)
    return _table(b, "SparsityParameters", fields)


def _operator(b: flatbuffers.Builder, op: Operator, code: int) -> int:
    fields = {"Inputs": _ints(b, op.inputs), "Outputs": _ints(b, op.outputs), "OpcodeIndex": code}
    if op.options:
        fields["BuiltinOptions"] = _table(b, op.options, op.values)
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, op.options)
    return _table(b, "Operator", fields)


def _code(b: flatbuffers.Builder, kind: str) -> int:
    code = getattr(tflite.BuiltinOperator, kind)
    return _table(b, "OperatorCode", {"BuiltinCode": code, "DeprecatedBuiltinCode": min(code, 127), "Version": 1})
