"""The detector of people and their keypoints in one picture: two networks by their cards (top-down)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import DetectionSettings
from ..errors import ModelError
from ..layouts import layout
from ..shapes import FloatArray, check_shapes
from .blazepose import aligned_region, decode_landmarks, decode_person_boxes
from .boxes import Boxes, decode_boxes, first_of_each
from .card import BOX_KINDS, ModelCard, find_card
from .crop import (
    Region,
    image_from_crop,
    network_pictures,
    region_of_box,
    transform_covariance,
    transform_points,
    warp,
    whole_image,
)
from .heatmap_decoder import decode_heatmaps
from .keypoints import CropKeypoints, calibrated
from .person import Person2D, similarity
from .regression import decode_regression
from .session import Session
from .simcc import decode_simcc

SAME_PERSON = 0.5  # similarity of keypoints above which two people are one
_ENLARGE = 1.25  # of the box around the keypoints
_MIN_SCORE = 0.3  # of a keypoint that counts for the next region
_MIN_KEYPOINTS = 3  # of that score, that make a person
_DECODERS = {
    "heatmap": decode_heatmaps,
    "simcc": decode_simcc,
    "regression": decode_regression,
    "blazepose_landmarks": decode_landmarks,
}
_TENSORS = {  # outputs that the decoders read, of those that a card may name
    "heatmap": ("heatmaps",),
    "simcc": ("simcc_x", "simcc_y"),
    "regression": ("keypoints", "covariance", "sigma", "scores"),
    "blazepose_landmarks": ("landmarks", "heatmaps", "presence"),
    "blazepose_boxes": ("boxes", "scores"),
    "boxes": ("boxes", "scores"),
}


@dataclass(frozen=True, eq=False)
class Detector:
    """Two loaded networks: one that finds people, one that finds a person's keypoints."""

    keypoint_card: ModelCard
    box_card: ModelCard
    keypoint_session: Session
    box_session: Session
    min_person_score: float
    max_people: int

    @property
    def layout(self) -> str:
        """Name of the keypoint layout."""
        return self.keypoint_card.layout

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the keypoints in order."""
        return layout(self.layout).joint_names

    @property
    def provider(self) -> str:
        """The execution provider that does the work of the keypoint network."""
        return self.keypoint_session.provider

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The cards of both networks."""
        return (self.keypoint_card, self.box_card)

    def detect(self, image: NDArray[np.uint8]) -> list[Person2D]:
        """Find all people in a picture, without knowledge of earlier ones.

        Convention:
            best first; pixels of the picture; left and right are the subject's own.

        Args:
            image: (h, w, 3) RGB.
        """
        return self.settle(image, self.find(image))[: self.max_people]

    def settle(self, image: NDArray[np.uint8], regions: Sequence[Region]) -> list[Person2D]:
        """Find the people of regions that a box detector gave, surest first, each once.

        A box is looser or of another make than the region that follows from the keypoints themselves, so the
        network looks twice.

        Args:
            image: (h, w, 3) RGB.
            regions: where to look.
        """
        found = [person for person in self.estimate(image, regions) if person is not None]
        again = self.estimate(image, [person.next_region for person in found])
        return distinct([second or first for first, second in zip(found, again, strict=True)])

    def find(self, image: NDArray[np.uint8]) -> list[Region]:
        """Find the regions of a picture in which to look for a person's keypoints, best first.

        Args:
            image: (h, w, 3) RGB.
        """
        boxes = self.boxes(image)
        regions = [self._region(box, axis) for box, axis in zip(boxes.corners, boxes.axis, strict=True)]
        return regions[: 2 * self.max_people]

    def boxes(self, image: NDArray[np.uint8]) -> Boxes:
        """Find people as the box network says it, best first, in pixels of the picture.

        Args:
            image: (h, w, 3) RGB.
        """
        check_shapes(image=(image, "h w 3"))
        card = self.box_card
        whole = whole_image((image.shape[1], image.shape[0]), card.input.size)
        crops = warp(image, whole, card.input.size, repeat_edge=False)[None]
        decode = decode_person_boxes if card.kind == "blazepose_boxes" else decode_boxes
        boxes = decode(card, _run(self.box_session, card, crops), self.min_person_score)
        image_from_box = image_from_crop(whole, card.input.size)
        corners = transform_points(image_from_box, boxes.corners.reshape(-1, 2, 2)).reshape(-1, 4)
        return Boxes(corners, boxes.score, transform_points(image_from_box, boxes.axis))

    def estimate(self, image: NDArray[np.uint8], regions: Sequence[Region]) -> list[Person2D | None]:
        """Find the keypoints in each region, all regions in one call of the network where it allows that.

        Args:
            image: (h, w, 3) RGB.
            regions: where to look.

        Returns:
            For each region the person, or None where there is none.

        Raises:
            ModelError: the network does not give the joints of its card's layout.
        """
        if not regions:
            return []
        card = self.keypoint_card
        crops = np.stack([warp(image, region, card.input.size) for region in regions])
        raw = _DECODERS[card.kind](card, _run(self.keypoint_session, card, crops))
        if raw.xy.shape[1] != len(self.joint_names):
            raise ModelError(
                f"{card.path.name}: the network gives {raw.xy.shape[1]} keypoints, the layout {card.layout!r} "
                f"has {len(self.joint_names)}; correct the card"
            )
        return self._people(calibrated(card, raw), regions)

    def _people(self, crop: CropKeypoints, regions: Sequence[Region]) -> list[Person2D | None]:
        image_from = np.stack([image_from_crop(region, self.keypoint_card.input.size) for region in regions])
        xy = transform_points(image_from, crop.xy)
        covariance = transform_covariance(image_from, crop.covariance)
        axes = transform_points(image_from, crop.axis)
        people: list[Person2D | None] = []
        for i, region in enumerate(regions):
            sure = xy[i][crop.score[i] >= _MIN_SCORE]
            if crop.person_score[i] < self.min_person_score or len(sure) < _MIN_KEYPOINTS:
                people.append(None)
                continue
            following = self._region(np.concatenate([sure.min(axis=0), sure.max(axis=0)]), axes[i])
            score = float(crop.person_score[i])
            people.append(Person2D(xy[i], covariance[i], crop.score[i], score, region, following))
        return people

    def _region(self, box: FloatArray, axis: FloatArray) -> Region:
        """Return where the keypoint network should look, from a (4,) box and a (2, 2) axis or NaN."""
        size = self.keypoint_card.input.size
        if not np.isfinite(axis).all():
            return region_of_box(box, size[0] / size[1], _ENLARGE)
        circle = aligned_region(axis)
        if self.keypoint_card.kind == "blazepose_landmarks":
            return circle
        return Region(
            circle.centre, (circle.size[0] * max(1.0, size[0] / size[1]), circle.size[1] * max(1.0, size[1] / size[0]))
        )


def load_detector(settings: DetectionSettings) -> Detector:
    """Load the detector that the settings name, with the networks of its cards.

    Args:
        settings: the detection stage's.

    Raises:
        ModelError: a card or network is missing or wrong, or the asked execution provider is not used.
    """
    keypoint_card = find_card(settings.detector)
    if keypoint_card.kind in BOX_KINDS:
        raise ModelError(f"the model {settings.detector!r} finds boxes, not keypoints; name a keypoint model")
    if keypoint_card.kind not in _DECODERS:
        raise ModelError(
            f"the model {settings.detector!r} is a {keypoint_card.kind}, no detector; name a keypoint model"
        )
    box_card = find_card(keypoint_card.person_detector)
    if box_card.kind not in BOX_KINDS:
        raise ModelError(
            f"model card {keypoint_card.name!r}: its person_detector {box_card.name!r} finds no boxes "
            f"(kind {box_card.kind!r})"
        )
    return Detector(
        keypoint_card,
        box_card,
        keypoint_session=_load_session(keypoint_card, settings.provider),
        box_session=_load_session(box_card, settings.provider),
        min_person_score=settings.min_person_score,
        max_people=settings.max_people,
    )


def distinct(people: Sequence[Person2D]) -> list[Person2D]:
    """Return the people, surest first, without those who are one with a surer one."""
    ordered = sorted(people, key=lambda person: -person.person_score)
    same = np.array([[similarity(a.xy, b.xy) > SAME_PERSON for b in ordered] for a in ordered], dtype=bool)
    return [ordered[i] for i in first_of_each(same.reshape(len(ordered), len(ordered)))]


def _tensor_names(card: ModelCard) -> list[str]:
    return [card.outputs[key] for key in _TENSORS[card.kind] if key in card.outputs]


def _load_session(card: ModelCard, provider: str) -> Session:
    session = Session(card.path, provider)
    if card.input.name not in session.input_names:
        raise ModelError(f"{card.path.name} has no input {card.input.name!r}; it has: {', '.join(session.input_names)}")
    for name in _tensor_names(card):
        if name not in session.output_names:
            raise ModelError(f"{card.path.name} has no output {name!r}; it has: {', '.join(session.output_names)}")
    return session


def _run(session: Session, card: ModelCard, crops: NDArray[np.uint8]) -> dict[str, FloatArray]:
    return session.run(card.input.name, network_pictures(crops, card.input), _tensor_names(card))
