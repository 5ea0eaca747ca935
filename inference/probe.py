"""Whether a Python can run the worker, on what, and how fast: ``python -m inference.probe``.

One JSON line: ``{"python", "onnxruntime", "providers", "provider", "network", "images_per_s", "notes"}``, or
``{"error", "exit_code"}``. Started by the preferences in the Python that the user chose, so it says the exact reason
where that one lacks something; nothing of the package is imported before that was looked at.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import time

_OLDEST = (3, 11)
# What the worker imports, and the name of the package that brings it.
_NEEDED = {
    "numpy": "numpy",
    "scipy": "scipy",
    "cv2": "opencv-python-headless",
    "av": "av",
    "threadpoolctl": "threadpoolctl",
    "tqdm": "tqdm",
    "onnxruntime": "onnxruntime",
}
_WARM_UP, _LEAST_S = 2, 1.0
_BATCH = 8


def main(arguments: list[str] | None = None) -> int:
    """Say on stdout what this Python can do; return the exit code.

    Args:
        arguments: the name of the detector to time; blazepose if empty.
    """
    detector = ([*(sys.argv[1:] if arguments is None else arguments), "blazepose"])[0]
    said, code = _missing(), 2
    if said is None:
        said, code = _measured(detector)
    sys.stdout.write(json.dumps(said) + "\n")
    return code


def _missing() -> dict[str, object] | None:
    """Say what this Python lacks, None if nothing."""
    if sys.version_info[:2] < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        return _error(f"{sys.executable} is Python {platform.python_version()}; it must be {wanted} or later")
    for module, package in _NEEDED.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            reason = "" if isinstance(error, ModuleNotFoundError) and error.name == module else f" ({error})"
            return _error(
                f"{sys.executable} cannot import {module}{reason}; run: {sys.executable} -m pip install {package}"
            )
    return None


def _measured(detector: str) -> tuple[dict[str, object], int]:
    import onnxruntime

    from .errors import SolveError
    from .perception.card import find_card
    from .perception.session import PROVIDERS, Session

    short = {long: name for name, long in PROVIDERS.items()}
    providers = [short.get(name, name) for name in onnxruntime.get_available_providers()]
    notes = []
    try:
        card = find_card(detector)
        session = Session(card.path)
        for name in ("cuda", "directml"):  # there, and yet not what `auto` came to
            if name in providers and session.provider != name:
                try:
                    Session(card.path, name)
                except SolveError as problem:
                    notes.append(str(problem))
        speed = _images_per_s(session, card.input.name, card.input.size, card.input.order)
    except SolveError as problem:
        return _error(" ".join(str(problem).split())), problem.exit_code
    return {
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "providers": providers,
        "provider": session.provider,
        "network": detector,
        "images_per_s": speed,
        "notes": notes,
    }, 0


def _images_per_s(session: object, name: str, size: tuple[int, int], order: str) -> float:
    """Return how many pictures of one person the network takes in a second."""
    import numpy as np

    from .perception.session import Session

    assert isinstance(session, Session)
    shape = (_BATCH, size[1], size[0], 3) if order == "NHWC" else (_BATCH, 3, size[1], size[0])
    pictures = np.full(shape, 0.5, dtype=np.float32)
    for _ in range(_WARM_UP):
        session.run(name, pictures, list(session.output_names))
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < _LEAST_S:
        session.run(name, pictures, list(session.output_names))
        done += _BATCH
    return round(done / (time.perf_counter() - started), 1)


def _error(message: str) -> dict[str, object]:
    return {"error": message, "exit_code": 2}


if __name__ == "__main__":
    sys.exit(main())
