"""The people of a take with one view: without a second view nobody else can say who is who."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .errors import DegenerateError
from .shapes import BoolArray, FloatArray
from .types import Keypoints2D

_LEAST_S = 0.25  # for which somebody must be seen
_RESUMED_S = 1.0  # after which a track that begins where another ended is somebody else


def people_of_one_view(view: Keypoints2D, persons: int) -> tuple[Keypoints2D, ...]:
    """Choose who is solved: tracks that follow each other in place are one person, the largest come first.

    Convention:
        ``persons`` = 0 means everyone who is seen for `_LEAST_S`; fewer than asked come back where fewer are there.

    Args:
        view: slots are tracks.
        persons: how many people are wanted.

    Returns:
        The view with P persons.

    Raises:
        DegenerateError: nobody is seen long enough.
    """
    times = view.timestamps_s
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    seen = view.observed.sum(axis=-1) > 0  # (T, slots)
    groups = _followed(view, seen, times)
    groups = [group for group in groups if seen[:, group].any(axis=1).sum() * step >= min(_LEAST_S, len(times) * step)]
    if not groups:
        raise DegenerateError(f"view {view.view}: nobody is seen for {_LEAST_S:g} s; check the video and its keypoints")
    groups.sort(key=lambda group: -float(sum(_height_px(view, slot).sum() for slot in group)))
    chosen = groups[:persons] if persons else groups
    shape = (len(times), len(chosen), len(view.joint_names))
    xy, covariance, score = np.full((*shape, 2), np.nan), np.full((*shape, 2, 2), np.nan), np.zeros(shape)
    for person, group in enumerate(chosen):
        for slot in group:
            own = seen[:, slot]
            xy[own, person], covariance[own, person] = view.xy[own, slot], view.covariance[own, slot]
            score[own, person] = view.score[own, slot]
    return (replace(view, xy=xy, covariance=covariance, score=score),)


def _followed(view: Keypoints2D, seen: BoolArray, times: FloatArray) -> list[list[int]]:
    """Join tracks of which one begins, soon and near, where the other ended."""
    slots = [slot for slot in range(seen.shape[1]) if seen[:, slot].any()]
    slots.sort(key=lambda slot: int(seen[:, slot].argmax()))
    groups: list[list[int]] = []
    for slot in slots:
        first = int(seen[:, slot].argmax())
        best, least = None, 0.5  # of the body's height, that the middle may have moved
        for group in groups:
            last = int(np.flatnonzero(seen[:, group[-1]])[-1])
            if last < first and times[first] - times[last] <= _RESUMED_S:
                apart = np.linalg.norm(_middle(view, slot, first) - _middle(view, group[-1], last))
                share = float(apart / max(_height_px(view, slot)[first], 1.0))
                if share < least:
                    best, least = group, share
        if best is None:
            groups.append([slot])
        else:
            best.append(slot)
    return groups


def _middle(view: Keypoints2D, slot: int, frame: int) -> FloatArray:
    return np.nanmean(view.xy[frame, slot], axis=0)


def _height_px(view: Keypoints2D, slot: int) -> FloatArray:
    """(T,) how tall a track is in the picture, 0 where it is not seen."""
    v = view.xy[:, slot, :, 1]
    shown = np.isfinite(v).any(axis=-1)
    result = np.zeros(len(v))
    result[shown] = np.nanmax(v[shown], axis=-1) - np.nanmin(v[shown], axis=-1)
    return result
