"""What the buttons do: each collects its input, calls one function, and reports in one line."""

from . import results, solve

CLASSES = (*solve.CLASSES, *results.CLASSES)
