"""Pickles that are not trusted: what NumPy writes is read, anything that could run, hang or grow is refused."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import InputError, SolveError
from inference.files.plain_pickle import read_plain_pickle

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))
CONTENTS = {
    "K": np.arange(9.0).reshape(3, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "big": np.arange(3, dtype=">f4"),
    "scalar": np.float64(2.5),
    "nested": {"a": [1, 2.5, "x", None, True, b"y"]},
    "tuple": (1, 2),
    "empty": np.zeros((1, 0)),
}


def read(folder: Path, data: bytes) -> object:
    (folder / "a.pickle").write_bytes(data)
    return read_plain_pickle(folder / "a.pickle")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_numpy_writes(tmp_path: Path, protocol: int) -> None:
    values = read(tmp_path, pickle.dumps(CONTENTS, protocol=protocol))
    assert isinstance(values, dict) and list(values) == list(CONTENTS)
    for key in ("K", "columns", "big", "scalar", "empty"):
        np.testing.assert_array_equal(values[key], CONTENTS[key])
        assert np.asarray(values[key]).dtype == np.asarray(CONTENTS[key]).dtype
    assert values["nested"] == CONTENTS["nested"] and values["tuple"] == [1, 2]


def test_newer_numpys_module_names(tmp_path: Path) -> None:
    data = pickle.dumps(np.arange(3.0), protocol=2).replace(b"numpy.core.multi", b"numpy._core.multi")
    np.testing.assert_array_equal(read(tmp_path, data), [0, 1, 2])


class Runs:
    """Unpickled by the standard library, it runs a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "ran"
    data = pickle.dumps({"intrinsicMat": np.eye(3), "distortion": Runs(proof)}, protocol=protocol)
    with pytest.raises(InputError, match="it names (posix|nt).system, which a file of numbers does not need"):
        read(tmp_path, data)
    assert not proof.exists()
    pickle.loads(data)  # the control: the payload is live
    assert proof.exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("eval", b"\x80\x02cbuiltins\neval\nX\x04\x00\x00\x001+11\x85R."),
        ("getattr of numpy", b"\x80\x02cnumpy\nload\n."),
        ("instance", b"\x80\x02(inumpy\nndarray\n."),
        ("object", b"\x80\x02cnumpy\nndarray\n)\x81."),
        ("extension", b"\x80\x02\x82\x01."),
        ("persistent", b"\x80\x02X\x01\x00\x00\x00aQ."),
        ("call of a call", b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R)R."),
        ("state of a stand-in", b"\x80\x02cnumpy\ndtype\n}X\x0b\x00\x00\x00__defaults__)sb."),
        ("keys that take forever to hash", b"\x80\x02})" + b"2\x86" * 60 + b"Ns."),
    ],
)
def test_other_ways_to_do_harm(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path, data)


def test_time_and_memory_are_bounded(tmp_path: Path) -> None:
    """A huge memo number, a length beyond the file, an array beyond its bytes, a list of lists of the same list."""
    huge = (2**31 - 1).to_bytes(4, "little")
    row = b"](" + b"N" * 200_000 + b"eq\x00"
    again = b"](" + b"h\x00" * 200_000 + b"e"
    shape = pickle.dumps(np.zeros(3), protocol=2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85")
    started = time.perf_counter()
    for data in (
        b"\x80\x02]r" + huge + b"h\x05.",
        b"\x80\x04B" + huge + b"abc.",
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"abc.",
        b"\x80\x02" + row + again + b".",
        shape,
    ):
        with pytest.raises(InputError, match="cannot be read"):
            read(tmp_path, data)
    with pytest.raises(InputError, match="longer than 1 MiB"):
        read(tmp_path, bytes(2 * 1024 * 1024))
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_truncated_anywhere(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(CONTENTS, protocol=protocol)
    for end in range(0, len(data), 7):
        with pytest.raises(InputError):
            read(tmp_path, data[:end])


@pytest.mark.parametrize("value", [{1: 2}, {"a": object}, np.array(["a"]), np.array([None]), {"a": {1, 2}}, 1j])
def test_what_is_no_number(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path, pickle.dumps(value))


def test_real_pickles_of_other_tools_are_read_or_refused(shared_data: Path) -> None:
    folder = shared_data / "calibration_fixtures" / "mmpose_testdata" / "tests" / "data"
    cameras = read_plain_pickle(folder / "mpi_inf_3dhp" / "cameras_train.pkl")
    assert isinstance(cameras, dict) and all(np.shape(camera["R"]) == (3, 3) for camera in cameras.values())
    with pytest.raises(InputError, match="keys are not texts"):
        read_plain_pickle(folder / "h36m" / "cameras.pkl")


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    protocol=st.integers(2, 5),
    place=st.floats(0, 1),
    length=st.integers(0, 8),
    insert=st.binary(max_size=6) | st.sampled_from([b"cos\nsystem\n", b"R", b"b", b"0", b"h\x00", b"(", b".", b"u"]),
)
def test_mutated_files_raise_only_our_errors(tmp_path: Path, protocol: int, place: float, length: int, insert) -> None:
    data = pickle.dumps(CONTENTS, protocol=protocol)
    at = int(place * len(data))
    try:
        read(tmp_path, data[:at] + insert + data[at + length :])
    except SolveError as problem:
        assert isinstance(problem, InputError) and "\n" not in str(problem)
