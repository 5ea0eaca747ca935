"""What the buttons do: each collects its input, calls one function, and reports in one line."""

from . import (
    cameras,
    cleanup,
    corrections,
    drag,
    example,
    export,
    footage,
    hypotheses,
    layers,
    models,
    results,
    solve,
    uncertainty,
)

CLASSES = (
    *footage.CLASSES,
    *cameras.CLASSES,
    *solve.CLASSES,
    *results.CLASSES,
    *export.CLASSES,
    *layers.CLASSES,
    *cleanup.CLASSES,
    *corrections.CLASSES,
    *drag.CLASSES,
    *uncertainty.CLASSES,
    *hypotheses.CLASSES,
    *models.CLASSES,
    *example.CLASSES,
)
