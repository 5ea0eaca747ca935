"""Reading TensorFlow Lite files: constants come out dense and in float32, options by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.errors import ModelError
from inference.perception.tflite_graph import densify, read_tflite
from tests.inference.perception.tiny_tflite import Operator, Sparse, Tensor, network


def test_dense_from_sparse_by_hand() -> None:
    # Rows of a 2 × 4 matrix in blocks of 2 columns: row 0 holds its second block, row 1 its first.
    levels = [2, (np.array([0, 1, 2]), np.array([1, 0])), 2]
    dense = densify(np.array([1.0, 2.0, 3.0, 4.0]), (2, 4), (0, 1, 2), (1,), levels)
    np.testing.assert_array_equal(dense, [[0, 0, 1, 2], [3, 4, 0, 0]])


def test_columns_may_be_walked_first() -> None:
    # Column 0 holds nothing, column 1 rows 0 and 1, column 2 row 1.
    levels = [3, (np.array([0, 0, 2, 3]), np.array([0, 1, 1]))]
    dense = densify(np.array([1.0, 2.0, 3.0]), (2, 3), (1, 0), (), levels)
    np.testing.assert_array_equal(dense, [[0, 1, 0], [0, 2, 3]])


@pytest.mark.parametrize("vector", ["Int32Vector", "Uint16Vector", "Uint8Vector"])
def test_packed_weights_become_dense_float32_constants(vector: str, tmp_path: Path) -> None:
    sparse = Sparse((0, 1), (), (2, ([0, 1, 3], [2, 0, 1])), vector)
    stored = Tensor((2, 3), np.array([0.5, 1.5, 2.5], dtype=np.float16), sparse=sparse)
    tensors = [Tensor((1, 3)), stored, Tensor((2, 3), dtype="float16"), Tensor((2, 3)), Tensor((2, 3))]
    operators = [
        Operator("DENSIFY", (1,), (2,)),
        Operator("DEQUANTIZE", (2,), (3,)),
        Operator("ADD", (0, 3), (4,), "AddOptions", {"FusedActivationFunction": 3}),
    ]
    path = tmp_path / "tiny.tflite"
    path.write_bytes(network(tensors, operators, [0], [4]))
    graph = read_tflite(path)
    assert graph.constants[3].dtype == np.float32
    np.testing.assert_array_equal(graph.constants[3], [[0, 0, 0.5], [1.5, 2.5, 0]])
    assert [(op.kind, op.inputs, dict(op.options)) for op in graph.operators] == [
        ("ADD", (0, 3), {"FusedActivationFunction": 3})
    ]
    assert (graph.inputs, graph.outputs, graph.names[4]) == ((0,), (4,), "tensor4")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent.tflite: cannot be read"):
        read_tflite(tmp_path / "absent.tflite")
