"""From a trained network to the ONNX file and the model card with which `inference` uses it."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn

from inference.errors import ModelError
from inference.perception.card import KeypointNoise, sha256_of
from inference.perception.session import Session

PRECISIONS = ("fp32", "fp16", "int8")
PARITY = 1e-4  # largest difference of the fp32 file from PyTorch, relative to the largest value of an output
INPUT = "image"
_OPSET = 17


@dataclass(frozen=True)
class Shipped:
    """A network in the form in which it is exported: its module, and what its tensors are called."""

    module: nn.Module
    outputs: Mapping[str, str]  # meaning on the card -> tensor
    size: tuple[int, int]  # (width, height)
    kind: str  # of the card


def export(shipped: Shipped, path: Path) -> None:
    """Write the fp32 network with a free batch axis; normalisation is a part of it."""
    picture = torch.zeros(2, 3, shipped.size[1], shipped.size[0])
    names = list(shipped.outputs.values())
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter needs another package and gives the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        # The shapes that it tells of are fixed.
        warnings.filterwarnings("ignore", "(Converting|Iterating)")
        torch.onnx.export(
            shipped.module.eval(),
            (picture,),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={name: {0: "pictures"} for name in (INPUT, *names)},
        )


def check_parity(shipped: Shipped, path: Path, pictures: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Compare the file with the torch model on pictures (N, 3, H, W) 0–1; return inputs and the model's outputs.

    Returns:
        ``in_image`` and ``out_<tensor>``, as the parity file holds them.

    Raises:
        ModelError: an output differs by more than `PARITY`, relative to its largest value.
    """
    with torch.no_grad():
        wanted = [each.numpy() for each in shipped.module.eval()(torch.from_numpy(pictures))]
    names = list(shipped.outputs.values())
    found = Session(path, "cpu").run(INPUT, pictures, names)
    for name, array in zip(names, wanted, strict=True):
        away = float(np.abs(found[name] - array).max() / max(1.0, float(np.abs(array).max())))
        if not away <= PARITY:
            raise ModelError(f"{path}: output {name!r} differs from the torch model by {away:.2g} (allowed {PARITY:g})")
    return {f"in_{INPUT}": pictures, **{f"out_{name}": array for name, array in zip(names, wanted, strict=True)}}


def halve(path: Path, out: Path) -> None:
    """Write the network with float16 weights; pictures and answers stay float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of every weight too small for float16
        model = convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    onnx.save(model, str(out))


def quantise(path: Path, out: Path, pictures: Sequence[NDArray[np.float32]]) -> None:
    """Write the network with int8 convolutions, their ranges measured on batches of pictures (N, 3, H, W) 0–1.

    What follows the convolutions (positions, covariances) stays float32.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        logging.getLogger("root").setLevel(logging.ERROR)
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(out),
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


class _Pictures(CalibrationDataReader):
    def __init__(self, pictures: Sequence[NDArray[np.float32]]) -> None:
        self._rest: Iterator[NDArray[np.float32]] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        pictures = next(self._rest, None)
        return None if pictures is None else {INPUT: pictures}


@dataclass(frozen=True)
class CardFacts:
    """What a card says beyond the network's form."""

    name: str
    licence: str
    provenance: str
    layout: str = ""  # keypoint networks alone
    person_detector: str = ""  # likewise
    accuracy: Mapping[str, Any] | None = None  # plain values
    noise: Mapping[str, KeypointNoise] | None = None


def card_text(shipped: Shipped, facts: CardFacts, network: Path) -> str:
    """Return the model card, TOML, of a network file."""
    top = {
        "name": facts.name,
        "kind": shipped.kind,
        "file": network.name,
        "sha256": sha256_of(network),
        "layout": facts.layout,
        "licence": facts.licence,
        "provenance": facts.provenance,
        "person_detector": facts.person_detector,
    }
    lines = [f"{key} = {toml_value(value)}" for key, value in top.items() if value != ""]
    lines += ["", "[input]", f"name = {toml_value(INPUT)}", f"size = {toml_value(list(shipped.size))}"]
    lines += ["", "[outputs]", *(f"{key} = {toml_value(value)}" for key, value in shipped.outputs.items())]
    if facts.accuracy:
        lines += ["", "[accuracy]", *(f"{key} = {toml_value(value)}" for key, value in facts.accuracy.items())]
    for joint, noise in (facts.noise or {}).items():
        lines += ["", f"[noise.{joint}]"]
        lines += noise_lines(noise)
    return "\n".join(lines) + "\n"


def noise_lines(noise: KeypointNoise) -> list[str]:
    """Return the keys of a table ``[noise.JOINT]``; those that are zero by default only where they are not."""
    always = ("sigma_px", "heatmap_scale", "nu")
    sometimes = ("heatmap_sigma_px", "memory_frames", "offset_px", "placement_m", "view_correlation")
    keys = [*always, *(key for key in sometimes if np.any(getattr(noise, key)))]
    return [f"{key} = {toml_value(getattr(noise, key))}" for key in keys]


def toml_value(value: Any) -> str:
    """Write a value as TOML; numbers with four digits."""
    if isinstance(value, float):
        return repr(float(f"{value:.4g}"))
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(each) for each in value)}]"
    return json.dumps(value, ensure_ascii=False)
