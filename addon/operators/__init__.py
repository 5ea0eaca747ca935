"""What the buttons do: each collects its input, calls one function, and reports in one line."""

from . import cameras, corrections, drag, example, export, footage, layers, models, results, solve, uncertainty

CLASSES = (
    *footage.CLASSES,
    *cameras.CLASSES,
    *solve.CLASSES,
    *results.CLASSES,
    *export.CLASSES,
    *layers.CLASSES,
    *corrections.CLASSES,
    *drag.CLASSES,
    *uncertainty.CLASSES,
    *models.CLASSES,
    *example.CLASSES,
)
