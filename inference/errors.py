"""The tree of errors that a solve can raise.

    SolveError                what went wrong, where, and what the user can do
    ├── InputError            the input is wrong (exit code 2)
    │   ├── CalibrationError  a camera or calibration file is wrong
    │   └── ModelError        a model file or card is wrong or missing
    ├── ShapeError            arrays do not fit each other: a programmer's mistake
    ├── DegenerateError       the input is valid but does not determine an answer
    └── Cancelled             the user stopped the work (exit code 130)

Messages are one line: what is wrong, where (file, view, frame, joint), what to do.
"""

from __future__ import annotations


class SolveError(Exception):
    """Root of every error that Sightline raises on purpose."""

    exit_code = 3


class InputError(SolveError):
    """The user's input cannot be used; the message says where and what to do."""

    exit_code = 2


class CalibrationError(InputError):
    """A calibration cannot be read, or says something impossible."""


class ModelError(InputError):
    """A model is missing, its hash differs from its card, or its outputs do not fit the card."""


class ShapeError(SolveError, ValueError):
    """Array shapes or contents break the contract of a function or type."""


class DegenerateError(SolveError):
    """The data do not determine an answer (for example: all joints in one plane)."""


class Cancelled(SolveError):
    """The user stopped the work."""

    exit_code = 130
