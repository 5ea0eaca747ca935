"""The noise of a detector as its card states it, measured on pictures whose labels several views have agreed on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from inference.perception.card import KeypointNoise, ModelCard
from inference.shapes import FloatArray

from .calibration_metrics import nll
from .evaluation import ViewErrors

NU = 5.0  # with which a solve reads covariances
_FEW = 40  # errors of a joint below which all joints together speak for it
_FACTORS = np.exp(np.linspace(np.log(0.2), np.log(5), 65))  # 5 % apart
_MOST_MEMORY = 60.0
_FEW_OF_STREAM = 10  # errors of one view, fewer say nothing of it
_SURE_SE = 4.0  # standard errors beyond which a mean error is taken away


def measured_noise(
    errors: ViewErrors,
    card: ModelCard,
    streams: Sequence[str],  # (N,) which view each picture is of
    frames: Sequence[int],  # (N,) its frame number
) -> dict[str, KeypointNoise]:
    """Return the card's noise with widths, standing errors and memory as measured.

    Per joint one factor on the stated covariance, the likeliest for a Student t of `NU`; the median error where it is
    beyond doubt; the memory from how errors of one view correlate from picture to picture.

    Convention:
        pixels of the network's input. A joint with fewer than 40 errors gets the factor of all joints together and
        keeps its offset and memory; one that is not labelled likewise.
    """
    # Rotated regions (BlazePose's) turn errors with them: offsets stand in the network's axes.
    linear = errors.crop_from_image[:, None]
    error = (linear @ errors.error[..., None])[..., 0]
    covariance, labels = (
        linear @ each @ np.swapaxes(linear, -1, -2) for each in (errors.covariance, errors.label_covariance)
    )
    overall = likeliest_factor(error.reshape(-1, 2), covariance.reshape(-1, 2, 2), labels.reshape(-1, 2, 2))
    noise = {"default": _scaled(card.noise_of("default"), overall)}
    for joint, name in enumerate(errors.detector_names):
        own = card.noise_of(name)
        known = np.isfinite(error[:, joint]).all(axis=1)
        if known.sum() < _FEW:
            noise[name] = _scaled(own, overall)
            continue
        offset = standing_error(error[:, joint], streams)
        rest = error[:, joint] - offset
        factor = likeliest_factor(rest, covariance[:, joint], labels[:, joint])
        memory = memory_frames(rest, streams, frames)
        moved = (float(own.offset_px[0] + offset[0]), float(own.offset_px[1] + offset[1]))
        noise[name] = dataclasses.replace(_scaled(own, factor), offset_px=moved, memory_frames=memory, nu=NU)
    return noise


def likeliest_factor(
    error: FloatArray,  # (N, 2)
    covariance: FloatArray,  # (N, 2, 2)
    label_covariance: FloatArray,  # (N, 2, 2) that the labels state of themselves
) -> float:
    """Return the factor c under which errors are likeliest with c² covariance + label_covariance; 1 without errors."""
    good = np.isfinite(error).all(axis=1)
    good &= np.isfinite(covariance).all(axis=(1, 2)) & np.isfinite(label_covariance).all(axis=(1, 2))
    if not good.any():
        return 1.0
    error, covariance, label_covariance = error[good], covariance[good], label_covariance[good]
    values = [nll(error, (factor**2 * covariance + label_covariance) * (NU - 2) / NU, NU).mean() for factor in _FACTORS]
    return float(_FACTORS[int(np.argmin(values))])


def memory_frames(error: FloatArray, streams: Sequence[str], frames: Sequence[int]) -> float:  # (N, 2)
    """Return after how many frames an error has forgotten itself (1/e), from neighbours in each stream.

    The median error of each stream stands, and is not counted as memory. Clipped at three robust deviations.
    """
    tops, bottoms, steps = [], [], []
    names, numbers = np.asarray(streams), np.asarray(frames)
    for name in np.unique(names):
        order = np.flatnonzero((names == name) & np.isfinite(error).all(axis=1))
        order = order[np.argsort(numbers[order])]
        if len(order) < 5:
            continue
        own = error[order] - np.median(error[order], axis=0)
        limit = 3 * 1.4826 * np.median(np.abs(own), axis=0) + 1e-9
        own = np.clip(own, -limit, limit)
        tops.append((own[1:] * own[:-1]).sum())
        bottoms.append((own**2).sum() * (len(own) - 1) / len(own))
        steps.append(np.median(np.diff(numbers[order])))
    if not tops or sum(tops) <= 0:
        return 0.0
    correlation = min(sum(tops) / sum(bottoms), 0.999)
    return float(min(-np.median(steps) / np.log(correlation), _MOST_MEMORY))


def standing_error(error: FloatArray, streams: Sequence[str]) -> FloatArray:  # (N, 2)
    """Return the error (2,) that stands in every stream alike: their smallest median, 0 where they differ in sign.

    What stands in one view alone is that view's camera or side, and would spoil the others.
    """
    names, known = np.asarray(streams), np.isfinite(error).all(axis=1)
    medians = [
        np.median(error[known & (names == name)], axis=0)
        for name in np.unique(names)
        if (known & (names == name)).sum() >= _FEW_OF_STREAM
    ]
    if not medians:
        return np.zeros(2)
    alike = np.abs(np.sign(medians).sum(axis=0)) == len(medians)
    rest = error[known] - np.median(error[known], axis=0)
    spread = 1.4826 * np.median(np.abs(rest), axis=0)
    smallest = np.abs(medians).min(axis=0)
    # Errors remember: a fifth of them counts.
    sure = alike & (smallest > _SURE_SE * 1.25 * spread / np.sqrt(known.sum() / 5))
    return np.where(sure, np.sign(medians[0]) * smallest, 0.0)


def _scaled(noise: KeypointNoise, factor: float) -> KeypointNoise:
    return dataclasses.replace(
        noise, sigma_px=noise.sigma_px * factor, heatmap_scale=noise.heatmap_scale * factor, nu=NU
    )


def card_with_noise(text: str, name: str, provenance: str, tables: Mapping[str, Sequence[str]]) -> str:
    """Return a card's text under another name, its tables of noise and accuracy replaced.

    Args:
        text: of the card.
        name: of the new one.
        provenance: sentence added to where it comes from.
        tables: lines by name of a table, for example ``noise.left_knee``.
    """
    kept, inside = [], False
    for line in text.splitlines():
        if line.startswith("["):
            inside = line.strip("[] ").split(".")[0] in ("noise", "accuracy")
        if line.startswith("name =") and not any(each.startswith("[") for each in kept):
            line = f'name = "{name}"'
        if line.startswith("provenance ="):
            line = line.rstrip().removesuffix('"') + f'; {provenance}"'
        if not inside:
            kept.append(line)
    while kept and (not kept[-1].strip() or kept[-1].startswith("#")):
        kept.pop()
    for table, lines in tables.items():
        kept += ["", f"[{table}]", *lines]
    return "\n".join(kept) + "\n"
