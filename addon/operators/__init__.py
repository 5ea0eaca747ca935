"""What the buttons do: each collects its input, calls one function, and reports in one line."""

from . import layers, results, solve

CLASSES = (*solve.CLASSES, *results.CLASSES, *layers.CLASSES)
