"""Several people: who keeps an identity, counted against the truth as in multi-object tracking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from inference.config import AssociationSettings
from inference.geometry.association import choose_people
from inference.keypoints import link_detections
from inference.shapes import IntArray
from inference.types import Keypoints2D
from tests.people_scenes import SCENARIOS, identities, scenario
from tests.synthetic import Scene
from tools.benchmarks.rows import Row

SEEDS = tuple(range(1, 11))


@dataclass(frozen=True)
class Identities:
    """How well people are kept apart. Detections are counted per view and frame."""

    idf1: float  # 2 IDTP / (2 IDTP + IDFP + IDFN), Ristani et al. 2016
    switches: int  # frames at which a true person's majority of views changes to another identity
    found: int  # people found
    expected: int


def compare(scene: Scene, chosen: Sequence[Keypoints2D], detected: Sequence[Keypoints2D]) -> Identities:
    """Compare chosen people with the truth; detections that were not chosen count as missed."""
    mine = identities(scene, tuple(chosen))
    people, true = mine.shape[2], scene.xyz.shape[1]
    table = np.array([[(mine[:, :, p] == q).sum() for q in range(true)] for p in range(people)])
    rows, columns = linear_sum_assignment(table, maximize=True)
    right = int(table[rows, columns].sum())
    given = int((mine >= 0).sum())
    wanted = sum(int(view.observed.any(axis=-1).sum()) for view in detected)
    switches = sum(_switches(mine, q) for q in range(true))
    return Identities(2 * right / (given + wanted), switches, people, true)


def _switches(mine: IntArray, person: int) -> int:
    """Changes of the identity under which most views show a true person."""
    count = (mine == person).sum(axis=0)  # (T, P)
    best = count.argmax(axis=1)[count.max(axis=1) > 0]
    return int((np.diff(best) != 0).sum())


def one_run(name: str, seed: int, persons: int = 0) -> Identities:
    """Associate one scenario's detections with one seed."""
    scene, found = scenario(name, seed)
    chosen = choose_people(scene.rig, [link_detections(view) for view in found], persons, AssociationSettings())
    return compare(scene, chosen, found)


def people() -> Iterator[Row]:
    """Measure every scenario over the seeds."""
    for name in SCENARIOS:
        runs = [one_run(name, seed) for seed in SEEDS]
        group = f"people: {name}"
        worst = min(run.idf1 for run in runs)
        yield Row(
            group, "IDF1 of the detections", "%", 100 * float(np.mean([run.idf1 for run in runs])), {}, True,
            f"{len(SEEDS)} seeds, worst {100 * worst:.1f} %",
        )  # fmt: skip
        yield Row(group, "identity switches per take", "", float(np.mean([run.switches for run in runs])))
        right = [run.found == run.expected for run in runs]
        yield Row(group, "takes whose number of people is found", "%", 100 * float(np.mean(right)), {}, True)
