"""The converter against LiteRT: every operator on tiny networks, then the real networks of the pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from inference.errors import ModelError
from inference.perception.card import user_model_folder
from inference.perception.packs import PACKS, self_test_picture
from inference.perception.tflite_graph import read_tflite
from inference.perception.tflite_to_onnx import convert_tflite
from tests.inference.perception.tiny_tflite import Operator, Sparse, Tensor, network

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is the reference here")

NONE, RELU, RELU_N1, RELU6 = range(4)
SAME, VALID = range(2)


def weights(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def conv(
    stride: int = 1, padding: int = SAME, activation: int = NONE, dilation: int = 1, **more: int
) -> dict[str, int]:
    strides = {"StrideH": stride, "StrideW": stride, "DilationHFactor": dilation, "DilationWFactor": dilation}
    return {"Padding": padding, "FusedActivationFunction": activation, **strides, **more}


def one_conv(size: tuple[int, int], kernel: int, **options: int) -> bytes:
    """(1, h, w, 3) → 4 channels, with bias."""
    values = conv(**options)
    reach = (kernel - 1) * values["DilationHFactor"] + 1
    stride, valid = values["StrideH"], values["Padding"] == VALID
    out = tuple(-(-(n - reach + 1) // stride) if valid else -(-n // stride) for n in size)
    tensors = [Tensor((1, *size, 3)), Tensor((4, kernel, kernel, 3), weights(4, kernel, kernel, 3))]
    tensors += [Tensor((4,), weights(4)), Tensor((1, *out, 4))]
    return network(tensors, [Operator("CONV_2D", (0, 1, 2), (3,), "Conv2DOptions", values)], [0], [3])


def one_depthwise(multiplier: int) -> bytes:
    tensors = [Tensor((1, 7, 6, 3)), Tensor((1, 3, 3, 3 * multiplier), weights(1, 3, 3, 3 * multiplier))]
    tensors += [Tensor((3 * multiplier,), weights(3 * multiplier)), Tensor((1, 4, 3, 3 * multiplier))]
    values = conv(stride=2, activation=RELU6, DepthMultiplier=multiplier)
    return network(
        tensors, [Operator("DEPTHWISE_CONV_2D", (0, 1, 2), (3,), "DepthwiseConv2DOptions", values)], [0], [3]
    )


def pooled() -> bytes:
    """Every value is negative, so that padding with zeros would show."""
    window = {"Padding": SAME, "StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3}
    tensors = [Tensor((1, 7, 6, 2)), Tensor((1,), np.array([-100], dtype=np.float32)), Tensor((1, 7, 6, 2))]
    operators = [
        Operator("ADD", (0, 1), (2,), "AddOptions", {}),
        Operator("MAX_POOL_2D", (2,), (3,), "Pool2DOptions", window),
    ]
    return network([*tensors, Tensor((1, 4, 3, 2))], operators, [0], [3])


def padded() -> bytes:
    pads = np.array([[0, 0], [1, 2], [0, 1], [3, 0]], dtype=np.int32)
    tensors = [Tensor((1, 4, 6, 2)), Tensor((4, 2), pads), Tensor((1, 7, 7, 5))]
    return network(tensors, [Operator("PAD", (0, 1), (2,), "PadOptions")], [0], [2])


def added(constant: tuple[int, ...] | None, activation: int = NONE) -> bytes:
    """x + x, or x + a constant of that shape."""
    options = {"FusedActivationFunction": activation}
    tensors = [Tensor((1, 3, 4, 2)), Tensor((1, 3, 4, 2))]
    if constant is not None:
        tensors.append(Tensor(constant, weights(*constant)))
    inputs = (0, 0) if constant is None else (0, 2)
    return network(tensors, [Operator("ADD", inputs, (1,), "AddOptions", options)], [0], [1])


def concatenated(axis: int) -> bytes:
    shape = [1, 3, 4, 2]
    shape[axis] *= 2
    options = {"Axis": axis, "FusedActivationFunction": NONE}
    tensors = [Tensor((1, 3, 4, 2)), Tensor((1, 3, 4, 2)), Tensor(tuple(shape))]
    operators = [
        Operator("LOGISTIC", (0,), (1,)),
        Operator("CONCATENATION", (0, 1), (2,), "ConcatenationOptions", options),
    ]
    return network(tensors, operators, [0], [2])


def resized(**options: int) -> bytes:
    size = Tensor((2,), np.array([8, 9], dtype=np.int32))
    op = Operator("RESIZE_BILINEAR", (0, 1), (2,), "ResizeBilinearOptions", options)
    return network([Tensor((1, 4, 3, 2)), size, Tensor((1, 8, 9, 2))], [op], [0], [2])


def reshaped(source: tuple[int, ...], target: tuple[int, ...]) -> bytes:
    shape = Tensor((len(target),), np.array(target, dtype=np.int32))
    return network([Tensor(source), shape, Tensor(target)], [Operator("RESHAPE", (0, 1), (2,))], [0], [2])


def depth_to_space() -> bytes:
    op = Operator("DEPTH_TO_SPACE", (0,), (1,), "DepthToSpaceOptions", {"BlockSize": 2})
    return network([Tensor((1, 3, 2, 12)), Tensor((1, 6, 4, 3))], [op], [0], [1])


def half_weights() -> bytes:
    """A 1×1 convolution whose weights are 16-bit floats."""
    tensors = [Tensor((1, 3, 3, 4)), Tensor((2, 1, 1, 4), weights(2, 1, 1, 4).astype(np.float16))]
    tensors += [Tensor((2, 1, 1, 4)), Tensor((2,), weights(2)), Tensor((1, 3, 3, 2))]
    operators = [Operator("DEQUANTIZE", (1,), (2,)), Operator("CONV_2D", (0, 2, 3), (4,), "Conv2DOptions", conv())]
    return network(tensors, operators, [0], [4])


ROWS = Sparse((0, 1, 2, 3), (), (3, 1, 1, ([0, 2, 2, 3], [0, 3, 1])), "Uint8Vector")  # 3 values
BLOCKS = Sparse((0, 1, 2, 3, 4), (3,), (3, 1, 1, ([0, 1, 1, 3], [1, 0, 1]), 2))  # 3 blocks of 2 values


def sparse_weights(sparse: Sparse, values: int) -> bytes:
    tensors = [Tensor((1, 3, 3, 4)), Tensor((3, 1, 1, 4), weights(values), sparse=sparse), Tensor((3, 1, 1, 4))]
    tensors += [Tensor((3,), weights(3)), Tensor((1, 3, 3, 3))]
    operators = [Operator("DENSIFY", (1,), (2,)), Operator("CONV_2D", (0, 2, 3), (4,), "Conv2DOptions", conv())]
    return network(tensors, operators, [0], [4])


TINY = {
    "convolution, odd size, stride 2": one_conv((7, 6), 3, stride=2, activation=RELU6),
    "convolution, even kernel": one_conv((6, 5), 2, activation=RELU),
    "convolution, kernel 5, stride 3": one_conv((8, 10), 5, stride=3, activation=RELU_N1),
    "convolution, dilated": one_conv((9, 8), 3, dilation=2),
    "convolution, valid": one_conv((9, 8), 3, stride=2, padding=VALID),
    "depthwise convolution": one_depthwise(1),
    "depthwise convolution, two filters a channel": one_depthwise(2),
    "pad": padded(),
    "max pool": pooled(),
    "add": added(None, RELU6),
    "add a number per channel": added((2,), RELU),
    "add a constant picture": added((1, 3, 4, 2)),
    "logistic, concatenate rows": concatenated(1),
    "logistic, concatenate channels": concatenated(3),
    "resize, half pixel": resized(HalfPixelCenters=1),
    "resize, corners aligned": resized(AlignCorners=1),
    "resize, asymmetric": resized(),
    "reshape picture to rows": reshaped((1, 4, 3, 6), (1, 24, 3)),
    "reshape rows to picture": reshaped((1, 24, 3), (1, 4, 6, 3)),
    "reshape picture to picture": reshaped((1, 4, 3, 6), (1, 2, 6, 6)),
    "reshape pixel to vector": reshaped((1, 1, 1, 6), (1, 6)),
    "reshape vector to pixel": reshaped((1, 6), (1, 1, 1, 6)),
    "depth to space": depth_to_space(),
    "16-bit weights": half_weights(),
    "sparse weights": sparse_weights(ROWS, 3),
    "sparse weights in blocks": sparse_weights(BLOCKS, 6),
}


def run_litert(data: Path | bytes, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name; the network sees one picture at a time."""
    content = data.read_bytes() if isinstance(data, Path) else data
    reference = interpreter.Interpreter(model_content=content, num_threads=1)
    reference.allocate_tensors()
    details = reference.get_output_details()
    rows: dict[str, list[np.ndarray]] = {each["name"]: [] for each in details}
    for picture in pictures:
        reference.set_tensor(reference.get_input_details()[0]["index"], picture[None])
        reference.invoke()
        for each in details:
            rows[each["name"]].append(reference.get_tensor(each["index"]).copy())
    return {name: np.concatenate(values) for name, values in rows.items()}


def run_onnx(data: bytes, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name; all pictures in one batch."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: pictures}), strict=True))


def write(folder: Path, data: bytes) -> Path:
    path = folder / "tiny.tflite"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", TINY)
def test_operator_agrees_with_litert_on_a_batch(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, TINY[name])
    graph = read_tflite(path)
    shape = graph.shapes[graph.inputs[0]]
    pictures = np.random.default_rng(11).normal(size=(3, *shape[1:])).astype(np.float32) * 3
    expected = run_litert(TINY[name], pictures)
    found = run_onnx(convert_tflite(path, {}), pictures)
    assert found.keys() == expected.keys()
    for output, values in expected.items():
        assert found[output].shape == values.shape
        np.testing.assert_allclose(found[output], values, atol=2e-5)


def test_names_are_changed_and_outputs_left_out(tmp_path: Path) -> None:
    shapes = [(1, 3, 4, 2)] * 3
    operators = [Operator("LOGISTIC", (0,), (1,)), Operator("LOGISTIC", (1,), (2,))]
    path = write(tmp_path, network([Tensor(shape) for shape in shapes], operators, [0], [1, 2]))
    names = {"tensor0": "image", "tensor1": "first", "tensor2": "second"}
    pictures = weights(2, 3, 4, 2)
    whole = run_onnx(convert_tflite(path, names), pictures)
    part = run_onnx(convert_tflite(path, names, ["second"]), pictures)
    assert list(whole) == ["first", "second"]
    assert list(part) == ["first"]
    np.testing.assert_array_equal(part["first"], whole["first"])
    assert b"t2" not in convert_tflite(path, names, ["second"])
    with pytest.raises(ModelError, match="cannot leave out third"):
        convert_tflite(path, names, ["third"])


def test_conversion_is_deterministic(tmp_path: Path) -> None:
    path = write(tmp_path, TINY["max pool"])
    assert convert_tflite(path, {}) == convert_tflite(path, {})


def softmax() -> bytes:
    op = Operator("SOFTMAX", (0,), (1,), "SoftmaxOptions", {"Beta": 1})
    return network([Tensor((1, 5)), Tensor((1, 5))], [op], [0], [1])


def eight_bit_weights() -> bytes:
    tensors = [Tensor((1, 4)), Tensor((1, 4), np.ones((1, 4), dtype=np.int8)), Tensor((1, 4)), Tensor((1, 4))]
    operators = [Operator("DEQUANTIZE", (1,), (2,)), Operator("ADD", (0, 2), (3,), "AddOptions", {})]
    return network(tensors, operators, [0], [3])


def computed_dequantize() -> bytes:
    return network([Tensor((1, 4), dtype="float16"), Tensor((1, 4))], [Operator("DEQUANTIZE", (0,), (1,))], [0], [1])


def pooled_after_padding() -> bytes:
    window = {"Padding": VALID, "StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 3}
    pads = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], dtype=np.int32)
    tensors = [Tensor((1, 5, 5, 2)), Tensor((4, 2), pads), Tensor((1, 7, 7, 2)), Tensor((1, 3, 3, 2))]
    operators = [
        Operator("PAD", (0, 1), (2,), "PadOptions"),
        Operator("MAX_POOL_2D", (2,), (3,), "Pool2DOptions", window),
    ]
    return network(tensors, operators, [0], [3])


def resized_by_an_odd_ratio() -> bytes:
    # In float32, 7 · (31 / 7) is less than 31.
    size = Tensor((2,), np.array([4, 31], dtype=np.int32))
    op = Operator("RESIZE_BILINEAR", (0, 1), (2,), "ResizeBilinearOptions", {})
    return network([Tensor((1, 2, 7, 1)), size, Tensor((1, 4, 31, 1))], [op], [0], [2])


def tanh_after_add() -> bytes:
    return added(None, activation=4)


def add_of_unequal_sizes() -> bytes:
    tensors = [Tensor((1, 4)), Tensor((1, 3), weights(1, 3)), Tensor((1, 4))]
    return network(tensors, [Operator("ADD", (0, 1), (2,), "AddOptions", {})], [0], [2])


def reshape_over_batch() -> bytes:
    return reshaped((1, 4), (4, 1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (softmax(), r"tiny.tflite: operator SOFTMAX cannot be converted; known: ADD, "),
        (eight_bit_weights(), "INT8"),
        (computed_dequantize(), "DEQUANTIZE of a tensor that is no constant"),
        (tanh_after_add(), "ADD with fused activation 4"),
        (pooled_after_padding(), "MAX_POOL_2D right after PAD"),
        (resized_by_an_odd_ratio(), "RESIZE_BILINEAR from"),
        (reshape_over_batch(), "mixes the batch"),
        (add_of_unequal_sizes(), "contradicts itself"),
        (b"not a network at all", "not a TensorFlow Lite file"),
        (b"", "not a TensorFlow Lite file"),
        (TINY["add"][:60], "damaged"),
        (TINY["add"][:200], "damaged"),
    ],
)
def test_what_cannot_be_converted_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        convert_tflite(write(tmp_path, data), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["tflite", "onnx"])
def test_missing_package_says_what_to_install(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ModelError, match=f"package '{package}'; run: pip install tflite onnx"):
        convert_tflite(write(tmp_path, TINY["add"]), {})


def test_damaged_files_give_a_network_or_one_line(tmp_path: Path) -> None:
    """Every tiny network twelve times: cut short once, else with up to five wrong bytes after the file's mark."""
    rng = np.random.default_rng(0)
    refused = 0
    for data, cut in [(TINY[name], turn == 0) for name in TINY for turn in range(12)]:
        damaged = bytearray(data[: rng.integers(8, len(data))] if cut else data)
        for _ in range(0 if cut else rng.integers(1, 6)):
            damaged[rng.integers(8, len(data))] = rng.integers(256)
        try:
            convert_tflite(write(tmp_path, bytes(damaged)), {})
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


def real_picture(shared_data: Path, size: int) -> np.ndarray:
    """A frame of real footage, squeezed into the network's input, 0–1."""
    cv2 = pytest.importorskip("cv2")
    capture = cv2.VideoCapture(str(shared_data / "pose2sim_single" / "videos" / "cam03.mp4"))
    good, frame = capture.read()
    assert good
    return (cv2.resize(frame[:, :, ::-1], (size, size), interpolation=cv2.INTER_AREA) / 255).astype(np.float32)


def compare_with_litert(source: Path, names: dict[str, str], pictures: np.ndarray) -> None:
    """All outputs, the left-out ones too: within 1e-3 of the output's largest magnitude."""
    expected = run_litert(source, pictures)
    found = run_onnx(convert_tflite(source, names), pictures)
    assert len(found) == len(expected)
    for original, values in expected.items():
        scale = max(1.0, float(np.abs(values).max()))
        worst = float(np.abs(found[names[original]] - values).max())
        assert worst <= 1e-3 * scale, f"{names[original]}: differs by {worst} at a scale of {scale}"


def published(source: str) -> Path:
    path = user_model_folder() / Path(source).name
    if not path.is_file():
        pytest.skip("the blazepose pack is not installed: python -m inference models fetch blazepose")
    return path


RANGES = {"blazepose_detector": (224, (-1.0, 1.0)), "blazepose": (256, (0.0, 1.0))}


@pytest.mark.parametrize("entry", PACKS["blazepose"].networks, ids=lambda entry: entry.card)
def test_pack_agrees_with_litert_on_random_and_patterned_pictures(entry) -> None:
    source = published(entry.source)
    size, (low, high) = RANGES[entry.card]
    random = np.random.default_rng(5).uniform(low, high, size=(1, size, size, 3)).astype(np.float32)
    pictures = np.concatenate([random, self_test_picture((size, size), (low, high))])
    compare_with_litert(source, dict(entry.names), pictures)


@pytest.mark.parametrize("entry", PACKS["blazepose"].networks, ids=lambda entry: entry.card)
def test_pack_agrees_with_litert_on_a_real_picture(entry, shared_data: Path) -> None:
    source = published(entry.source)
    size, (low, high) = RANGES[entry.card]
    picture = low + (high - low) * real_picture(shared_data, size)[None]
    compare_with_litert(source, dict(entry.names), picture.astype(np.float32))
