"""Networks in ONNX Runtime, on the execution provider that was asked for, or an error."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..config import nearest_key
from ..errors import ModelError

_log = logging.getLogger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "azure": "AzureExecutionProvider",
}
# ONNX Runtime's exceptions share no base class below Exception.
_LOAD_ERRORS = (
    RuntimeError,
    ValueError,
    *(
        getattr(onnxruntime.capi.onnxruntime_pybind11_state, name)  # pyright: ignore[reportAttributeAccessIssue]
        for name in ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile")
        + ("NotImplemented", "RuntimeException")
    ),
)
_AUTOMATIC = ("cuda", "directml", "cpu")  # in this order, where available


class Session:
    """One loaded network; `run` may be called from several threads."""

    def __init__(self, path: Path, provider: str = "auto", threads: int = 0) -> None:
        """Load a network.

        Args:
            path: the ONNX file.
            provider: key of PROVIDERS, or ``auto``.
            threads: of one network call; 0 = as many as the machine has cores.

        Raises:
            ModelError: the file is no network, or the provider is not there or does not do the work.
        """
        self.path = path
        wanted = _wanted(provider)
        onnxruntime.set_default_logger_severity(4)  # of what stands outside of sessions, as below
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # a provider that fails to load is reported by our own error
        # A thread that spins while it waits takes the core from video decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if "DmlExecutionProvider" in wanted:
            options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except _LOAD_ERRORS as error:
            raise ModelError(f"{path}: ONNX Runtime cannot load this network: {_first_line(error)}") from error
        self.provider = _used(self._session)
        if provider != "auto" and self.provider != provider:
            raise ModelError(
                f"{path.name}: the execution provider {provider!r} was asked for but {self.provider!r} does the work; "
                f"install its drivers and 'python tools/dev.py env gpu', or use provider = \"auto\""
            )
        # DirectML alone does not allow several runs at once.
        self._turn: AbstractContextManager[Any] = Lock() if self.provider == "directml" else nullcontext()
        _log.info("%s runs on %s", path.name, self.provider)

    @property
    def input_shape(self) -> list[int | str | None]:
        """Shape of the first input; a size that is not fixed is a name or None."""
        return self._session.get_inputs()[0].shape

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of all outputs."""
        return tuple(output.name for output in self._session.get_outputs())

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of all inputs."""
        return tuple(each.name for each in self._session.get_inputs())

    @property
    def takes_batches(self) -> bool:
        """Whether several pictures fit in one call."""
        return not isinstance(self.input_shape[0], int)

    def run(self, input_name: str, pictures: NDArray[Any], output_names: list[str]) -> dict[str, NDArray[Any]]:
        """Run the network on pictures, several at once where it can.

        Args:
            input_name: of the tensor that takes the pictures.
            pictures: (N, …) float32, N ≥ 1.
            output_names: tensors wanted.

        Returns:
            Each output with the pictures on its first axis.
        """
        step = len(pictures) if self.takes_batches else 1
        with self._turn:
            parts = [
                self._session.run(output_names, {input_name: pictures[start : start + step]})
                for start in range(0, len(pictures), step)
            ]
        return {name: np.concatenate([np.asarray(part[i]) for part in parts]) for i, name in enumerate(output_names)}

    def run_named(self, inputs: dict[str, NDArray[Any]], output_names: list[str]) -> list[NDArray[Any]]:
        """Run the network on several inputs at once.

        Args:
            inputs: arrays by the name of the tensor.
            output_names: tensors wanted.

        Returns:
            The outputs in that order.
        """
        with self._turn:
            return [np.asarray(each) for each in self._session.run(output_names, inputs)]


def _wanted(provider: str) -> list[str]:
    available = onnxruntime.get_available_providers()
    if provider == "auto":
        return [PROVIDERS[name] for name in _AUTOMATIC if PROVIDERS[name] in available]
    if provider not in PROVIDERS:
        raise ModelError(f"unknown execution provider {provider!r}{nearest_key(provider, ['auto', *PROVIDERS])}")
    if PROVIDERS[provider] not in available:
        here = ", ".join(key for key, name in PROVIDERS.items() if name in available)
        raise ModelError(
            f"the execution provider {provider!r} is not in this ONNX Runtime (it has: {here}); "
            f"'python tools/dev.py env gpu' installs the one for CUDA"
        )
    return list(dict.fromkeys([PROVIDERS[provider], PROVIDERS["cpu"]]))


def _used(session: onnxruntime.InferenceSession) -> str:
    """Return the short name of the provider that runs most of the network's nodes."""
    names = {long: short for short, long in PROVIDERS.items()}
    counts: dict[str, int] = {}
    if hasattr(session, "get_provider_graph_assignment_info"):
        for subgraph in session.get_provider_graph_assignment_info():
            counts[subgraph.ep_name] = counts.get(subgraph.ep_name, 0) + len(subgraph.get_nodes())
    most = max(counts, key=lambda name: counts[name]) if counts else session.get_providers()[0]
    return names.get(most, most)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
