"""What a training tells while it runs: JSON lines on stdout, a bar on a terminal, TensorBoard."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm


class Journal:
    """Keeps the losses of a run, and shows them."""

    def __init__(self, folder: Path, first: int, total: int, speaks: bool, out: IO[str] | None = None) -> None:
        self.losses: list[float] = []
        self._out = out or sys.stdout
        self._speaks = speaks
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first) if speaks else None
        hidden = not (speaks and sys.stderr.isatty())
        self._bar = tqdm(total=total, initial=first, unit="step", disable=hidden, file=sys.stderr)

    def step(self, loss: float) -> None:
        """Count a step."""
        self.losses.append(loss)
        self._bar.update()

    def tell(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """Write values of a step: ``kind`` is train, validation or note."""
        if not self._speaks:
            return
        shown = {key: float(f"{v:.6g}") if isinstance(v, float) else v for key, v in values.items()}
        self._out.write(json.dumps({"step": step, "kind": kind, **shown}) + "\n")
        self._out.flush()
        for key, value in values.items():
            if self._board is not None and isinstance(value, int | float):
                self._board.add_scalar(f"{kind}/{key}", value, step)
        if "loss" in values:
            self._bar.set_postfix(loss=f"{values['loss']:.4g}")

    def close(self) -> None:
        """Finish the files."""
        self._bar.close()
        if self._board is not None:
            self._board.close()
