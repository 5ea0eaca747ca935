"""Corrections go to a file and come back the same."""

import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.corrections import Correction
from inference.errors import InputError
from inference.files.corrections_toml import corrections_path, read_corrections, write_corrections

FUZZ_CASES = int(os.environ.get("SIGHTLINE_FUZZ", "200"))

WILD = ("inf", "-inf", "inf,", "nan", "1e300", "-1e300,", "9" * 12)
ALL = (
    Correction("move", 2, 1.25, 1.25, "cam01", "left_wrist", (400.5, 300.0)),
    Correction("wrong", 1, 0.5, 1.0, 'odd "name" 😀', "nose"),
    Correction("wrong", 1, 0.5, 1.0, "cam01"),
    Correction("swap", 1, 0.5, 1.0, "cam01", "arms"),
    Correction("drop", 1, 0.5, 1.0, "cam01"),
    Correction("pin", 1, 0.5, 0.5, None, "right_ankle", (0.1, -0.2, 0.3), 0.01),
)


def test_round_trip(tmp_path: Path) -> None:
    path = corrections_path(tmp_path / "take.toml")
    assert path.name == "take.corrections.toml"
    assert read_corrections(path) == ()
    write_corrections(path, ALL)
    assert read_corrections(path) == ALL
    write_corrections(path, [])
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[correction]]\nkind = 'mvoe'", "'mvoe' is unknown.*move"),
        ("[[correction]]\nkind = 'move'\nview = 'a'\njoint = 'nose'\ntime = 1", "needs xy"),
        ("[[correction]]\nkind = 'drop'\nview = 'a'\nstart = 2\nend = 1", "must not come before"),
        ("[[correction]]\nkind = 'pin'\njoint = 'nose'\ntime = 1\nxyz = [1, 2]", "xyz"),
        ("[[correction]]\nkind = 'swap'\nview = 'a'\nlimb = 'arm'\nstart = 1\nend = 2", "limb = 'arm'.*arms"),
        ("[[correction]]\nkind = 'pin'\njoint = 'nose'\ntime = 1\nxyz = [1, 2, 3]\nsigma_m = 0", "out of range"),
        ("[[correction]]\nkind = 'drop'\nview = 'a'\nstart = 1\nend = 2\nfoo = 1", "unknown key 'foo'"),
        (
            "[[correction]]\nkind = 'pin'\njoint = 'nose'\ntime = 1\nxyz = [1, inf, 3]",
            "number 1: xyz = .*within 10000 m",
        ),
        ("[[correction]]\nkind = 'pin'\njoint = 'nose'\ntime = 1\nxyz = [1, 2, -1e300]", "xyz = .*within 10000 m"),
        ("[[correction]]\nkind = 'move'\nview = 'a'\njoint = 'nose'\ntime = 1\nxy = [-inf, 2]", "number 1: xy.*finite"),
        ("[correction]\nkind = 'drop'", r"\[\[correction\]\]"),
        ("[[corection]]", r"\[\[correction\]\]"),
        ("kind =", "not valid TOML"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "take.corrections.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_corrections(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), length=st.integers(0, 40), insert=st.text(max_size=12) | st.sampled_from(WILD))
def test_mutated_files_raise_only_our_errors(tmp_path: Path, place: float, length: int, insert: str) -> None:
    write_corrections(tmp_path / "good.toml", ALL)
    good, path = (tmp_path / "good.toml").read_text(encoding="utf-8"), tmp_path / "take.corrections.toml"
    at = round(place * len(good))
    path.write_bytes((good[:at] + insert + good[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        found = read_corrections(path)
    except InputError as problem:
        assert "\n" not in str(problem)
    else:
        assert all(math.isfinite(number) for correction in found for number in correction.place)


@settings(max_examples=FUZZ_CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.lists(st.floats(allow_nan=False) | st.sampled_from([1e4, -1e4, 1e300]), min_size=3, max_size=3))
def test_pins_are_near_or_refused(tmp_path: Path, place: list[float]) -> None:
    path = tmp_path / "take.corrections.toml"
    numbers = ", ".join(map(repr, place))
    path.write_text(f"[[correction]]\nkind = 'pin'\njoint = 'nose'\ntime = 1\nxyz = [{numbers}]")
    if max(map(abs, place)) <= 1e4:
        assert read_corrections(path)[0].place == tuple(place)
    else:
        with pytest.raises(InputError, match="within 10000 m"):
            read_corrections(path)
