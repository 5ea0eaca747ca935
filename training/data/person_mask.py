"""BlazePose's person mask: where in a picture the person is whose keypoints were found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from scipy.special import expit

from inference.errors import ModelError
from inference.perception.card import ModelCard
from inference.perception.crop import Region, image_from_crop, network_pictures, warp

_MASK = "Identity_2"  # the output's name in the published file


@dataclass(frozen=True, eq=False)
class PersonMask:
    """The published landmark network, with the output that a solve leaves out."""

    card: ModelCard
    network: Any  # LiteRT's interpreter, which brings no types

    @classmethod
    def of(cls, card: ModelCard) -> PersonMask:
        """Open the published network that lies beside the installed one.

        Raises:
            ModelError: it is not there.
        """
        source = card.path.with_suffix(".tflite")
        if not source.is_file():
            raise ModelError(f"{source} is missing: fetch it with: python -m inference models fetch blazepose")
        network = Interpreter(str(source), num_threads=1)
        network.allocate_tensors()
        return cls(card, network)

    def seen(
        self, image: NDArray[np.uint8], looked: Region, wanted: Region, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Return (h, w) 0–255 of a wanted region, from the mask of the region in which the person was found."""
        crop = warp(image, looked, self.card.input.size)[None]
        self.network.set_tensor(self.network.get_input_details()[0]["index"], network_pictures(crop, self.card.input))
        self.network.invoke()
        output = next(each for each in self.network.get_output_details() if each["name"] == _MASK)
        share = expit(self.network.get_tensor(output["index"])[0, ..., 0].astype(np.float64))
        image_from_mask = np.vstack([image_from_crop(looked, self.card.input.size), [0, 0, 1]])
        mask_from_crop = (np.linalg.inv(image_from_mask) @ np.vstack([image_from_crop(wanted, size), [0, 0, 1]]))[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine((255 * share).astype(np.uint8), mask_from_crop, size, flags=flags)
        return np.asarray(moved, dtype=np.uint8)
