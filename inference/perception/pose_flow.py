"""The shipped conditional flow in ONNX Runtime: samples of whole body poses given what the views say."""

from __future__ import annotations

import numpy as np

from ..errors import ModelError, ShapeError
from ..layouts import layout
from ..shapes import FloatArray
from ..stature import MEASURED
from .card import ModelCard, find_card
from .flow import PoseGaussians, PosePrior
from .session import Session

_FRAMES = 2  # of one network call: few enough for the cache


class PoseFlow:
    """A loaded flow."""

    def __init__(self, card: ModelCard, threads: int = 0) -> None:
        """Load the network and the prior that it carries.

        Raises:
            ModelError: the card is of another kind of network, its joints do not do, or the network is no flow.
        """
        if card.kind != "flow":
            raise ModelError(f"the model {card.name!r} is of kind {card.kind!r}; hypotheses need one of kind 'flow'")
        self.card = card
        self.joint_names = layout(card.layout).joint_names
        lacking = [name for name in MEASURED if name not in self.joint_names]
        if lacking:
            raise ModelError(
                f"the flow {card.name!r} has the joints of {card.layout!r}, which lack {', '.join(lacking)}: a flow "
                "for hypotheses needs them to know how tall a body is; train it on sightline_29"
            )
        self._session = Session(card.path, "cpu", threads)
        j = len(self.joint_names)
        nothing = {"z": np.zeros((1, 1, 3 * j), np.float32), "features": np.zeros((1, 15 * j), np.float32)}
        try:
            constants = self._session.run_named(nothing, ["prior_mean", "prior_covariance", "prior_patterns"])
            self.prior = PosePrior(*(np.asarray(each, float) for each in constants))
        except (ValueError, ShapeError) as error:
            raise ModelError(f"{card.path}: this network is no flow over poses: {error}") from error

    def sample(self, gaussians: PoseGaussians, samples: int, seed: int) -> FloatArray:
        """Draw poses.

        Convention:
            frames are numbered from ``seed`` on: frame n of this call has the numbers of seed + n, whatever else is
            drawn in the call, so that a take solved again gives the same.

        Args:
            gaussians: what the views say, N frames.
            samples: S of each frame.
            seed: of the first frame.

        Returns:
            (N, S, J, 3) m float32, about the anchor.
        """
        count, d = len(gaussians.features), len(self.prior.mean)
        poses = np.empty((count, samples, d // 3, 3), np.float32)
        features = gaussians.features.astype(np.float32)
        for start in range(0, count, _FRAMES):
            block = slice(start, min(start + _FRAMES, count))
            z = np.stack([
                np.random.default_rng(seed + n).standard_normal((samples, d), np.float32)
                for n in range(block.start, block.stop)
            ])  # fmt: skip
            (u,) = self._session.run_named({"z": z, "features": features[block]}, ["u"])
            poses[block] = gaussians.take(block).poses(u, self.prior)
        return poses


def load_flow(name: str, threads: int = 0) -> PoseFlow:
    """Load a flow by the name of its card.

    Raises:
        ModelError: there is no such card, its network is missing, or it is no flow.
    """
    return PoseFlow(find_card(name), threads)
