"""Settings of a solve: one frozen dataclass per stage, and the one place where defaults stand.

In ``take.toml`` all of them are flat keys of ``[solve]``; on the command line ``--set key=value``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError


@dataclass(frozen=True)
class DetectionSettings:
    """How people and their keypoints are found in the pictures."""

    detector: str = "blazepose"  # name of a model card
    provider: str = "auto"  # auto | cpu | cuda | … ; anything but auto must really be used, or it is an error
    max_people: int = 6  # people followed per view
    min_person_score: float = 0.5
    redetect_every: int = 30  # frames between looks for new people
    reuse_detections: bool = True  # keep them in the user's cache folder (SIGHTLINE_CACHE), and start from kept ones


@dataclass(frozen=True)
class CameraSettings:
    """What is asked of a calibration."""

    misfit: str = "refuse"  # refuse | warn: where it fits the person only once a known mistake in it is undone


@dataclass(frozen=True)
class AssociationSettings:
    """How the same person is recognised in different views."""

    max_ray_error_px: float = 40.0  # median reprojection error above which two tracks are not one person


@dataclass(frozen=True)
class TriangulationSettings:
    """How a joint is estimated in one frame."""

    degrees_of_freedom: float = 5.0  # of the Student t of keypoint errors
    min_score: float = 0.1
    reject_sigma: float = 8.0  # a keypoint farther from the consensus, in its own sigmas, is rejected
    max_sigma_m: float = 0.3  # a joint less sure than this is unobserved


@dataclass(frozen=True)
class MotionSettings:
    """How the whole sequence becomes one motion."""

    degrees_of_freedom: float = 5.0  # of the Student t of keypoint errors
    min_score: float = 0.1
    smoothness: float = 1.0  # 1 = fitted to the take; larger is smoother
    bone_sigma_m: float = 0.0005  # how much a bone may change its length before the skeleton is made rigid
    max_sigma_m: float = 0.3  # a bridged joint less sure than this is unobserved
    contacts: str = "soft"  # off | estimate: told only | soft: resting feet are held as far as sure | locked: exactly
    joint_limits: bool = True  # knees bend one way, nothing folds flat; only where it is broken


@dataclass(frozen=True)
class HypothesisSettings:
    """What is done where too few views see a person."""

    hypotheses: str = "auto"  # off | auto: bodies are sampled where no two views see a joint and motion leaves it open
    flow: str = "sightline_flow"  # name of a model card of kind flow
    hypothesis_samples: int = 64  # of each such frame; kept in the solution


@dataclass(frozen=True)
class SolveSettings:
    """All stages."""

    detection: DetectionSettings = field(default_factory=DetectionSettings)
    cameras: CameraSettings = field(default_factory=CameraSettings)
    association: AssociationSettings = field(default_factory=AssociationSettings)
    triangulation: TriangulationSettings = field(default_factory=TriangulationSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    unseen: HypothesisSettings = field(default_factory=HypothesisSettings)


def nearest_key(key: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known key, or the list of known keys."""
    known = sorted(known)
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


# Allowed values of settings; where a number is not named here it lies in 0 … 1e9.
CHOICES: dict[str, tuple[str, ...]] = {
    "contacts": ("off", "estimate", "soft", "locked"),
    "hypotheses": ("off", "auto"),
    "misfit": ("refuse", "warn"),
    "provider": ("auto", "cpu", "cuda", "tensorrt", "directml", "coreml", "openvino", "rocm", "migraphx", "webgpu"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "degrees_of_freedom": (2.001, float("inf")),  # a covariance exists only above 2
    "hypothesis_samples": (2, 10_000),
    "max_people": (1, 100),
    "redetect_every": (1, 1_000_000),
    "min_person_score": (0, 1),
    "min_score": (0, 1),
}
_DEFAULT_RANGE = (0.0, 1e9)
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}


def settings_from(
    mapping: Mapping[str, Any], base: SolveSettings | None = None, where: str = "[solve]"
) -> SolveSettings:
    """Spread the keys of ``[solve]`` over the stages' settings.

    Convention:
        a flat key goes to every stage that has a setting of that name; a table named like a stage
        (``[solve.motion]``), or a dotted key (``motion.smoothness``), reaches that stage alone and
        wins over a flat key.

    Args:
        mapping: keys and values as TOML gives them.
        base: settings to start from; the defaults where it is None.
        where: the words that begin an error message.

    Returns:
        The settings.

    Raises:
        InputError: an unknown key (the nearest is named), a wrong type, or a value out of its range.
    """
    stages: dict[str, Any] = {
        f.name: getattr(base or SolveSettings(), f.name) for f in dataclasses.fields(SolveSettings)
    }
    flat, staged = _split_by_stage(mapping, stages, where)
    known = {f.name for stage in stages.values() for f in dataclasses.fields(stage)}
    for key in flat:
        if key not in known:
            raise InputError(f"{where}: unknown setting {key!r}{nearest_key(key, known | set(stages))}")
    for name, stage in stages.items():
        fields = {f.name for f in dataclasses.fields(stage)}
        own = staged.get(name, {})
        for key in own:
            if key not in fields:
                raise InputError(f"{where}: unknown setting {key!r} of {name}{nearest_key(key, fields)}")
        values = {key: value for key, value in flat.items() if key in fields} | own
        hints = typing.get_type_hints(type(stage))
        checked = {key: _setting(key, value, hints[key], where) for key, value in values.items()}
        stages[name] = dataclasses.replace(stage, **checked)
    return SolveSettings(**stages)


def _split_by_stage(
    mapping: Mapping[str, Any], stages: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    flat: dict[str, Any] = {}
    staged: dict[str, dict[str, Any]] = {}
    for key, value in mapping.items():
        stage, dot, name = key.partition(".")
        if dot and stage in stages:
            staged.setdefault(stage, {})[name] = value
        elif key in stages:
            if not isinstance(value, Mapping):
                raise InputError(f"{where}: {key!r} is a stage; write its settings as [solve.{key}]")
            staged[key] = dict(value) | staged.get(key, {})
        else:
            flat[key] = value
    return flat, staged


def _setting(key: str, value: Any, hint: Any, where: str) -> Any:
    value = typed_value(value, hint, f"{where}: {key}")
    if key in CHOICES and value not in CHOICES[key]:
        raise InputError(f"{where}: {key} = {value!r}{nearest_key(str(value), CHOICES[key])}")
    low, high = _RANGES.get(key, _DEFAULT_RANGE)
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not low <= number <= high:
            raise InputError(f"{where}: {key} = {value} is out of range; it must lie in {low:g} … {high:g}")
    return value


def typed_value(value: Any, hint: Any, where: str) -> Any:
    """Return a TOML value as the annotated type, or raise naming the place, the expected type and the value.

    Convention:
        a whole number stands for a float, a list for a tuple; true and false are not numbers; NaN is refused.

    Args:
        value: what TOML gave.
        hint: bool, int, float, str, a tuple of these, or a union with None.
        where: the words that begin an error message, e.g. ``[solve]: min_score``.

    Returns:
        The value, with int turned into float and list into tuple where the annotation says so.

    Raises:
        InputError: the type is wrong, or the number is NaN.
    """
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return _typed_tuple(value, arguments, where)
    if arguments:  # a union with None: TOML has no null, so the value is of the other type
        hint = next(a for a in arguments if a is not type(None))
        return typed_value(value, hint, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
        value = float(value)
    if type(value) is not hint:
        raise InputError(f"{where} must be {_WORDS.get(hint, hint)}, not {_shown(value)}")
    if isinstance(value, float) and math.isnan(value):
        raise InputError(f"{where} is not a number (nan)")
    return value


def _typed_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if arguments and arguments[-1] is Ellipsis:
        length, hints = None, arguments[:1]
    else:
        length, hints = len(arguments), arguments
    if not isinstance(value, list | tuple) or (length is not None and len(value) != length):
        count = "" if length is None else f" of {length} values"
        raise InputError(f"{where} must be a list{count}, not {_shown(value)}")
    hints = hints * len(value) if length is None else hints
    return tuple(typed_value(v, h, where) for v, h in zip(value, hints, strict=True))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def checked_table(raw: Any, types: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a TOML table with every key known and every value of its type.

    Convention:
        keys that are not in the table stay absent; numbers must be finite.

    Args:
        raw: what TOML gave for the table.
        types: annotation of every known key, as for `typed_value`.
        where: name of the table for messages.

    Returns:
        The values by key.

    Raises:
        InputError: not a table, an unknown key (the nearest is named), a wrong type or a number that is not finite.
    """
    if not isinstance(raw, Mapping):
        raise InputError(f"{where} must be a table, not {_shown(raw)}")
    for key in raw:
        if key not in types:
            raise InputError(f"{where}: unknown key {key!r}{nearest_key(key, types)}")
    values = {key: typed_value(value, types[key], f"{where}: {key}") for key, value in raw.items()}
    for key, value in values.items():
        if isinstance(value, float) and math.isinf(value):
            raise InputError(f"{where}: {key} must be finite, not {value}")
    return values
