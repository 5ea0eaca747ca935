"""The sidebar tab Sightline of the 3D view: panels draw, operators work. Their order here is their order there."""

from . import (
    cameras,
    cleanup,
    corrections,
    export,
    footage,
    hypotheses,
    layers,
    models,
    preferences,
    results,
    solve,
    uncertainty,
)

CLASSES = (
    *solve.CLASSES,
    *footage.CLASSES,
    *cameras.CLASSES,
    *uncertainty.CLASSES,
    *layers.CLASSES,
    *cleanup.CLASSES,
    *results.CLASSES,
    *export.CLASSES,
    *corrections.CLASSES,
    *hypotheses.CLASSES,
    *solve.LAST,
    *models.CLASSES,
    *preferences.CLASSES,
)
