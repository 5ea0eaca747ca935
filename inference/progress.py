"""Tell the user how far the work is, and let the user stop it.

A stage takes a `Progress` and wraps its loop: ``for frame in progress.track("detect", frames, total)``;
work in several threads opens ``with progress.stage("detect", total) as advance``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TypeVar

from tqdm import tqdm

from .errors import Cancelled

Item = TypeVar("Item")


class Progress:
    """Silent progress; the base of the others. Cancelling raises `Cancelled` at the next item."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop at the next item; may be called from any thread."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self._cancelled.is_set():
            raise Cancelled("cancelled by the user")

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """Open a stage of ``total`` steps; call the result after each step, from any thread."""
        lock, done = threading.Lock(), 0

        def advance() -> None:
            nonlocal done
            self.check()
            with lock:
                done += 1
                self._advance(name, done, total)

        self._begin(name, total)
        try:
            yield advance
        finally:
            self._end()

    def track(self, name: str, items: Iterable[Item], total: int) -> Iterator[Item]:
        """Pass the items on, reporting each; ``name`` is a word or two for the user."""
        with self.stage(name, total) as advance:
            for item in items:
                self.check()
                yield item
                advance()

    def _begin(self, stage: str, total: int) -> None: ...

    def _advance(self, stage: str, done: int, total: int) -> None: ...

    def _end(self) -> None: ...


class BarProgress(Progress):
    """A bar with time left on a terminal; else one line per stage on stdout, so that stderr holds errors alone."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        super().__init__()
        self._stream = stream or (sys.stderr if sys.stderr.isatty() else sys.stdout)
        self._bar: tqdm | None = None

    def _begin(self, stage: str, total: int) -> None:
        if self._stream.isatty():
            self._bar = tqdm(total=total, desc=stage, file=self._stream, leave=False)
        else:
            self._stream.write(f"{stage} …\n")
            self._stream.flush()

    def _advance(self, stage: str, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class JsonProgress(Progress):
    """JSON lines on a stream: ``{"stage", "done", "total", "seconds_left"}``, at most ten a second."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stdout
        self._started = self._written = time.monotonic()

    def _begin(self, stage: str, total: int) -> None:
        self._started = time.monotonic()
        self._write(stage, 0, total)

    def _advance(self, stage: str, done: int, total: int) -> None:
        if done >= total or time.monotonic() - self._written > 0.1:
            self._write(stage, done, total)

    def _write(self, stage: str, done: int, total: int) -> None:
        self._written = time.monotonic()
        elapsed = self._written - self._started
        left = round(elapsed / done * (total - done), 1) if done else None
        line = {"stage": stage, "done": done, "total": total, "seconds_left": left}
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
