"""A finished run as a product: its network, what it was made from, and how good it is through `inference` itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from torch import nn

from inference.errors import InputError
from inference.perception.card import KeypointNoise, ModelCard, NetworkInput, sha256_of
from inference.perception.crop import network_pictures
from inference.perception.keypoints import calibrated
from inference.perception.regression import decode_regression
from inference.perception.session import Session
from inference.shapes import FloatArray

from .calibration_metrics import squared_mahalanobis
from .exporting import INPUT, CardFacts, Shipped
from .networks.keypoints import KeypointNetwork, ShippedKeypoints
from .networks.person import PersonNetwork, ShippedPersons
from .sources import ORIGINS
from .tasks.keypoints import KeypointTask, keypoint_scores
from .tasks.known import TASKS
from .tasks.persons import PersonTask, operating_score, person_scores
from .trainer.checkpoint import FILE, Checkpoint, load_weights, read_checkpoint
from .trainer.settings import Config, config_from

_FITTED = {"regression": "the covariance's factors", "boxes": "recall and precision at score 0.5"}
_LEAST_SIGMA_PX = 0.3  # of a card; the decoder adds it to what the network says


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model with its averaged weights, and held-out samples."""

    config: Config
    task: KeypointTask | PersonTask
    checkpoint: Checkpoint
    shipped: Shipped
    batches: list[dict[str, NDArray[Any]]]  # held-out samples

    @property
    def pictures(self) -> list[NDArray[np.float32]]:
        """The held-out pictures, as the network takes them."""
        return [self.network_input(batch) for batch in self.batches]

    def network_input(self, batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return a batch's pictures through the code that a solve uses."""
        crops = np.ascontiguousarray(np.moveaxis(batch["image"], 1, -1))
        return network_pictures(crops, NetworkInput(INPUT, self.shipped.size))


def open_run(folder: Path, views: int = 0) -> Run:
    """Read the last checkpoint of a run and build its network.

    Args:
        folder: of the run.
        views: held-out samples; 0: as many as the config says.

    Raises:
        InputError: there is no checkpoint, or it is damaged or of another architecture.
    """
    checkpoint = read_checkpoint(folder / FILE)
    raw = {key: value for key, value in checkpoint.facts["config"].items()}
    config = config_from(raw, TASKS, str(folder / FILE))
    tables = dict(config.tables)
    if views:
        tables["data"] = dataclasses.replace(tables["data"], validation_views=views)
    task = TASKS[config.system][config.task](tables, config.training.seed)
    if not isinstance(task, KeypointTask | PersonTask):
        raise InputError(f"{folder}: a {config.system} is no detector that could be exported as one")
    model = task.model()
    load_weights(model, checkpoint.part("ema"), str(folder / FILE))
    batches = [{key: value.numpy() for key, value in batch.items()} for batch in task.held_out()]
    run = Run(config, task, checkpoint, _shipped(model, task.data.size), batches)
    if isinstance(model, PersonNetwork):
        _centre_scores(run, model)
    return run


def _centre_scores(run: Run, model: PersonNetwork) -> None:
    """Shift the scores so that 0.5, from which on a solve looks for a person, is where boxes are as good as they get.

    The focal loss leaves scores too low. Every second held-out sample decides; the others judge it.
    """
    with torch.no_grad():
        parts = [run.shipped.module.eval()(torch.from_numpy(pictures)) for pictures in run.pictures]
    corners, score = (torch.cat(part).double().numpy()[::2] for part in zip(*parts, strict=True))
    truth = np.concatenate([batch["boxes"] for batch in run.batches]).astype(float)[::2]
    best = float(np.clip(operating_score(corners, score, truth), 0.02, 0.98))
    last = model.head[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    with torch.no_grad():
        last.bias[0] -= float(np.log(best / (1 - best)))


def _shipped(model: KeypointNetwork | PersonNetwork, size: tuple[int, int]) -> Shipped:
    if isinstance(model, KeypointNetwork):
        outputs = {"keypoints": "keypoints", "covariance": "covariance", "scores": "scores"}
        return Shipped(ShippedKeypoints(model), outputs, size, "regression")
    return Shipped(ShippedPersons(model), {"boxes": "boxes", "scores": "scores"}, size, "boxes")


@dataclass(frozen=True)
class Findings:
    """What was measured of a network file: scores by name, and per-joint noise of a keypoint network."""

    scores: dict[str, float]
    noise: dict[str, KeypointNoise]


def judged(run: Run, network: Path, plain: Path | None) -> Findings:
    """Measure a network file on the held-out samples; beside an fp32 file also the change against it.

    Keypoints pass the decoder and the card's noise as they do in a solve. The noise is fitted on every second sample,
    the calibration measured on the others.
    """
    findings = _judged_keypoints(run, network) if isinstance(run.task, KeypointTask) else _judged_boxes(run, network)
    if plain is None:
        return findings
    before = judged(run, plain, None).scores
    key = "pck_02" if "pck_02" in before else "ap_50"
    change = {f"fp32_{key}": before[key], f"change_of_{key}": findings.scores[key] - before[key]}
    return Findings(findings.scores | change, findings.noise)


def _judged_keypoints(run: Run, network: Path) -> Findings:
    assert isinstance(run.task, KeypointTask)
    names = run.task.joint_names
    card = _card(run, network, {"default": KeypointNoise(_LEAST_SIGMA_PX)})
    outputs = _outputs(run, network)
    truth = np.concatenate([_truth(batch) for batch in run.batches])
    raw = decode_regression(card, outputs)
    nu = _degrees_of_freedom(run)
    noise = fitted_noise(raw.xy[::2] - truth[::2], raw.covariance[::2], names, nu)
    found = calibrated(_card(run, network, noise), raw)
    error = found.xy - truth
    scores = keypoint_scores(error, found.covariance, truth, names)
    rest = keypoint_scores(error[1::2], found.covariance[1::2], truth[1::2], names)
    measured = {key: rest[key] for key in rest if key.startswith(("coverage", "ece", "nll"))}
    return Findings(scores | measured, noise)


def fitted_noise(
    error: FloatArray,  # (N, J, 2) px
    covariance: FloatArray,  # (N, J, 2, 2) px², of the network
    joint_names: tuple[str, ...],
    nu: FloatArray,  # (J,)
) -> dict[str, KeypointNoise]:
    """Return per joint the factor on the network's covariance that makes its middle half hold half of the errors.

    A joint with few samples gets the factor of all joints together.
    """
    scale = covariance * ((nu - 2) / nu)[:, None, None]
    distance = squared_mahalanobis(error, np.where(np.isfinite(covariance), scale, np.nan))
    relative = np.sqrt(distance / 2 / f_distribution.ppf(0.5, 2, nu))
    overall = float(np.nanmedian(relative))
    noise = {}
    for joint, name in enumerate(joint_names):
        own = relative[:, joint][np.isfinite(relative[:, joint])]
        factor = float(np.median(own)) if len(own) >= 50 else overall
        noise[name] = KeypointNoise(_LEAST_SIGMA_PX, heatmap_scale=max(factor, 0.05), nu=float(nu[joint]))
    return noise


def _degrees_of_freedom(run: Run) -> FloatArray:
    module = run.shipped.module
    assert isinstance(module, ShippedKeypoints)
    return module.network.degrees_of_freedom().detach().double().numpy()


def _judged_boxes(run: Run, network: Path) -> Findings:
    outputs = _outputs(run, network)
    boxes = np.concatenate([batch["boxes"] for batch in run.batches]).astype(float)
    whole = person_scores(outputs["boxes"], outputs["scores"], boxes)
    rest = person_scores(outputs["boxes"][1::2], outputs["scores"][1::2], boxes[1::2])
    return Findings(whole | {key: rest[key] for key in ("recall", "precision")}, {})


def _outputs(run: Run, network: Path) -> dict[str, FloatArray]:
    session = Session(network, "cpu", threads=1)
    names = list(run.shipped.outputs.values())
    parts = [session.run(INPUT, pictures, names) for pictures in run.pictures]
    return {name: np.concatenate([part[name] for part in parts]).astype(float) for name in names}


def _truth(batch: Mapping[str, NDArray[Any]]) -> FloatArray:
    return np.where(batch["inside"][..., None], batch["xy"].astype(float), np.nan)


def _card(run: Run, network: Path, noise: Mapping[str, KeypointNoise]) -> ModelCard:
    return ModelCard(
        name=run.config.name,
        kind=run.shipped.kind,
        path=network,
        sha256=sha256_of(network),
        layout=run.task.data.layout,
        licence="",
        provenance="",
        person_detector="",
        input=NetworkInput(INPUT, run.shipped.size),
        outputs={**run.shipped.outputs, "unit": "px"},
        noise=noise,
    )


def card_facts(run: Run, name: str, precision: str, person_detector: str, findings: Findings) -> CardFacts:
    """Return what the card says: where the network comes from, and what was measured."""
    facts, training = run.checkpoint.facts, run.config.training
    step = facts["step"]
    data = run.task.data
    origin = ORIGINS[data.source]
    provenance = (
        f"trained by Sightline at commit {facts['commit'] or 'unknown'} with the configuration {run.config.name}, "
        f"seed {training.seed}: {step} steps of {training.batch_size} views; data: {origin.what}"
    )
    if facts.get("started_from"):
        provenance += f"; started from the weights {facts['started_from']}"
    if data.real:
        provenance += f"; and {data.real_share:.0%} of the views real people, labelled by BlazePose: {data.real_origin}"
    views = sum(len(batch["image"]) for batch in run.batches)
    accuracy = {
        "measured": f"on {views} held-out samples of the source {run.task.data.source!r}, through ONNX Runtime and the "
        f"decoder of a solve; {_FITTED[run.shipped.kind]} judged on every second one, fitted on the others",
        "precision": precision,
        "steps": step,
        "views": step * training.batch_size,
        **{f"held_out_{key}": value for key, value in findings.scores.items()},
    }
    keypoints = isinstance(run.task, KeypointTask)
    return CardFacts(
        name=name,
        licence=origin.licence,
        provenance=provenance,
        layout=run.task.data.layout if keypoints else "",
        person_detector=person_detector if keypoints else "",
        accuracy=accuracy,
        noise=findings.noise,
    )
