"""Settings from TOML and the command line."""

from __future__ import annotations

import math

import pytest

from inference.config import SolveSettings, checked_table, settings_from, typed_value
from inference.errors import InputError


def test_defaults_stand_without_keys() -> None:
    assert settings_from({}) == SolveSettings()


def test_flat_key_reaches_its_stage() -> None:
    settings = settings_from({"detector": "other", "redetect_every": 12})
    assert settings.detection.detector == "other"
    assert settings.detection.redetect_every == 12
    assert settings.motion == SolveSettings().motion


def test_flat_key_of_two_stages_reaches_both_and_a_stage_table_wins() -> None:
    settings = settings_from({"max_sigma_m": 0.2, "motion": {"max_sigma_m": 0.1}})
    assert settings.triangulation.max_sigma_m == 0.2
    assert settings.motion.max_sigma_m == 0.1
    assert settings_from({"motion.max_sigma_m": 0.4}).motion.max_sigma_m == 0.4


def test_base_is_kept_where_nothing_is_said() -> None:
    base = settings_from({"smoothness": 2})
    assert settings_from({"min_score": 0.3}, base).motion.smoothness == 2.0


def test_whole_number_becomes_a_float_and_infinity_is_gaussian() -> None:
    assert isinstance(settings_from({"smoothness": 2}).motion.smoothness, float)
    assert math.isinf(settings_from({"degrees_of_freedom": float("inf")}).triangulation.degrees_of_freedom)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"smothness": 1.0}, "did you mean 'smoothness'"),
        ({"motion": {"smothness": 1.0}}, "did you mean 'smoothness'"),
        ({"motion.smothness": 1.0}, "did you mean 'smoothness'"),
        ({"motion": 1.0}, r"\[solve.motion\]"),
        ({"smoothness": "high"}, "smoothness must be a number, not 'high'"),
        ({"smoothness": True}, "smoothness must be a number, not True"),
        ({"max_people": 2.0}, "max_people must be a whole number, not 2.0"),
        ({"detector": 3}, "detector must be a text, not 3"),
        ({"max_sigma_m": -0.1}, "max_sigma_m = -0.1 is out of range"),
        ({"max_sigma_m": float("nan")}, "max_sigma_m is not a number"),
        ({"max_sigma_m": float("inf")}, "out of range"),
        ({"degrees_of_freedom": 1.0}, "degrees_of_freedom = 1.0 is out of range"),
        ({"min_score": 1.5}, "out of range"),
        ({"provider": "cudda"}, "did you mean 'cuda'"),
        ({"max_people": 10**400}, "out of range"),
        ({"smoothness": 10**400}, "must be a number"),
    ],
)
def test_refusals_name_the_key(mapping: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        settings_from(mapping)
    assert "\n" not in str(caught.value)


def test_tuples_are_checked_by_length_and_type() -> None:
    assert typed_value([1, 2], tuple[int, int], "x") == (1, 2)
    assert typed_value([1, 2, 3], tuple[float, ...], "x") == (1.0, 2.0, 3.0)
    assert typed_value(1, float | None, "x") == 1.0
    for wrong in ([1], 1, [1, "a"]):
        with pytest.raises(InputError, match="x must be"):
            typed_value(wrong, tuple[int, int], "x")


def test_a_table_refuses_unknown_keys_and_infinity() -> None:
    with pytest.raises(InputError, match="did you mean 'name'"):
        checked_table({"nmae": "a"}, {"name": str}, "[t]")
    with pytest.raises(InputError, match="must be finite"):
        checked_table({"a": float("inf")}, {"a": float}, "[t]")
    with pytest.raises(InputError, match="must be a table"):
        checked_table([], {"a": float}, "[t]")


def test_resting_feet_are_held_softly_by_default() -> None:
    assert SolveSettings().motion.contacts == "soft"
