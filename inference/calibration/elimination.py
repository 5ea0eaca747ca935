"""Normal equations from which the joints are eliminated, part of the body by part of the body.

Only bones tie joints to each other, so a moment's joints fall into parts (both arms; both legs; every joint of the
head alone) that know nothing of each other, and each of them touches few of the common unknowns: the cameras, its own
standing offsets, its own bones. Triggs et al. 2000, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..shapes import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Part:
    """Joints that bones join, in all moments."""

    joints: IntArray  # (A,) which of all joints
    columns: IntArray  # (C,) which of the common unknowns they touch
    blocks: FloatArray  # (F, 3A, 3A)
    coupling: FloatArray  # (F, 3A, C)
    slope: FloatArray  # (F, 3A)


@dataclass(frozen=True, eq=False)
class System:
    """Normal equations of the common unknowns, and of the joints."""

    own: FloatArray  # (G, G)
    rhs: FloatArray  # (G,)
    parts: list[Part]

    def reduced(self, damping: float) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
        """Eliminate the joints; return the reduced matrix, its right side, and each part's solution (F, 3A, C+1)."""
        matrix, rhs, solutions = self.own + damping * np.diag(np.diag(self.own)), self.rhs.copy(), []
        for part in self.parts:
            blocks, inner = part.blocks.copy(), np.arange(part.blocks.shape[1])
            blocks[:, inner, inner] *= 1 + damping
            solved = np.linalg.solve(blocks, np.concatenate([part.coupling, part.slope[..., None]], axis=-1))
            flat = part.coupling.reshape(-1, len(part.columns))
            product = flat.T @ solved.reshape(len(flat), -1)
            matrix[np.ix_(part.columns, part.columns)] -= product[:, :-1]
            rhs[part.columns] -= product[:, -1]
            solutions.append(solved)
        return matrix, rhs, solutions

    def joint_steps(self, solutions: list[FloatArray], step: FloatArray, shape: tuple[int, ...]) -> FloatArray:
        """(F, J, 3) steps of the joints that belong to a step (G,) of the common unknowns."""
        steps = np.zeros(shape)
        for part, solved in zip(self.parts, solutions, strict=True):
            own = solved[..., -1] - solved[..., :-1] @ step[part.columns]
            steps[:, part.joints] = own.reshape(len(own), -1, 3)
        return steps


def body_parts(joints: int, bones: IntArray) -> list[IntArray]:
    """Return the joints of each part; joints without bones are parts of their own."""
    links = coo_matrix((np.ones(len(bones)), (bones[:, 0], bones[:, 1])), shape=(joints, joints))
    count, label = connected_components(links, directed=False)
    return [np.flatnonzero(label == number) for number in range(count)]
