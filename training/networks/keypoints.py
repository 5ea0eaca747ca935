"""The keypoint network: heatmaps, and from them position, 2×2 scale matrix and visibility of every joint."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.perception.crop import image_from_cells

from ..losses import cholesky_factor
from .backbone import Backbone, NetworkSettings

FLOOR_PX = 0.25  # of the factor's diagonal: no keypoint is surer
_WINDOW = 3  # cells on each side of a heatmap's peak, over which its mean is taken
_LOWEST_NU = 2.1  # a covariance exists only above 2


class KeypointOutput(NamedTuple):
    """What the network says of N crops; pixels of its input."""

    heatmaps: Tensor  # (N, J, h, w) each sums to 1
    xy: Tensor  # (N, J, 2) px
    factor: Tensor  # (N, J, 2, 2) lower Cholesky factor of the scale matrix, px
    visibility: Tensor  # (N, J) logit
    nu: Tensor  # (J,) degrees of freedom of the Student t


class KeypointNetwork(nn.Module):
    """Crop (N, 3, H, W) RGB 0–1 → `KeypointOutput`.

    The position is the mean of the heatmap around its peak (soft-argmax; Nibali et al. 2018): over the whole map it
    would lie between two places that are both likely. Scale matrix and visibility are read from the features where
    the heatmap lies, from those of the whole crop, and from the heatmap's own spread.
    """

    def __init__(self, settings: NetworkSettings, joints: int, size: tuple[int, int]) -> None:
        super().__init__()
        width = settings.channels[0]
        self.backbone = Backbone(settings)
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, joints, 1))
        self.overall = nn.Linear(settings.channels[-1], width)
        self.local = nn.Linear(width + 4, width)
        self.readout = nn.Parameter(torch.zeros(joints, width, 4))
        self.readout_bias = nn.Parameter(torch.tensor([8.0, 0.0, 8.0, 0.0]).repeat(joints, 1))
        self.raw_nu = nn.Parameter(torch.full((joints,), 2.84))  # ν = 5 at the start
        cells = (size[0] // 4, size[1] // 4)
        affine = torch.from_numpy(image_from_cells(cells, size, "centre")).float()
        self.register_buffer("along_x", torch.arange(cells[0]) * affine[0, 0] + affine[0, 2], persistent=False)
        self.register_buffer("along_y", torch.arange(cells[1]) * affine[1, 1] + affine[1, 2], persistent=False)
        self.cell_px = float(affine[0, 0])
        self.size = size

    def forward(self, image: Tensor) -> KeypointOutput:
        """See the class."""
        rising, coarse = self.backbone(image)
        return self.read(rising[-1], coarse)

    def read(self, features: Tensor, coarse: Tensor) -> KeypointOutput:
        """Read the keypoints from the backbone's features, those at 1/4 of the input and the coarsest."""
        logits = self.head(features).float()
        n, joints, rows, columns = logits.shape
        flat = torch.softmax(logits.reshape(n, joints, rows * columns), dim=-1)
        maps = flat.reshape(n, joints, rows, columns)
        xy, spread = self._moments(maps)
        here = torch.matmul(flat, features.float().reshape(n, -1, rows * columns).transpose(1, 2))
        overall = self.overall(coarse.float().mean(dim=(2, 3)))
        known = torch.cat([here, spread, flat.max(dim=-1, keepdim=True).values], dim=-1)
        state = torch.relu(self.local(known) + overall[:, None])
        read = (state[..., None] * self.readout).sum(dim=2) + self.readout_bias
        factor = cholesky_factor(read[..., :3], 2, FLOOR_PX)
        return KeypointOutput(maps, xy, factor, read[..., 3], self.degrees_of_freedom())

    def degrees_of_freedom(self) -> Tensor:
        """Return ν (J,) of every joint's Student t."""
        return _LOWEST_NU + functional.softplus(self.raw_nu)

    def _moments(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean around the peak in px (N, J, 2); the whole map's spread (N, J, 3) in cells: deviations, correlation."""
        across, down = maps.sum(dim=2), maps.sum(dim=3)
        along_x, along_y = self.get_buffer("along_x"), self.get_buffer("along_y")
        x, y = (across * along_x).sum(dim=-1), (down * along_y).sum(dim=-1)
        peak = self._around_peak(maps)
        near_x = (peak.sum(dim=2) * along_x).sum(dim=-1)
        near_y = (peak.sum(dim=3) * along_y).sum(dim=-1)
        from_x = (along_x - x[..., None]) / self.cell_px
        from_y = (along_y - y[..., None]) / self.cell_px
        xx, yy = (across * from_x**2).sum(dim=-1), (down * from_y**2).sum(dim=-1)
        xy = torch.matmul(torch.matmul(from_y[..., None, :], maps), from_x[..., :, None])[..., 0, 0]
        sx, sy = (xx + 1e-3).sqrt(), (yy + 1e-3).sqrt()
        return torch.stack([near_x, near_y], dim=-1), torch.stack([sx, sy, xy / (sx * sy)], dim=-1)

    def _around_peak(self, maps: Tensor) -> Tensor:
        """The maps cut to a window of cells around their peak, summing to 1 again."""
        along_x, along_y = self.get_buffer("along_x"), self.get_buffer("along_y")
        x, y = along_x[maps.amax(dim=2).argmax(dim=-1)], along_y[maps.amax(dim=3).argmax(dim=-1)]
        reach = (_WINDOW + 0.5) * self.cell_px
        columns = ((along_x - x[..., None]).abs() < reach).float()
        rows = ((along_y - y[..., None]).abs() < reach).float()
        window = maps * rows[..., :, None] * columns[..., None, :]
        return window / window.sum(dim=(2, 3), keepdim=True)


class ShippedKeypoints(nn.Module):
    """What is exported: `KeypointNetwork` with its answer in the form that `inference` reads.

    Keypoints (N, J, 2) px, covariance (N, J, 2, 2) px² (the scale matrix times ν/(ν−2)), scores (N, J) 0–1.
    """

    def __init__(self, network: KeypointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        output = self.network(image)
        scale = (output.nu / (output.nu - 2))[:, None, None]
        covariance = scale * torch.matmul(output.factor, output.factor.transpose(-1, -2))
        return output.xy, covariance, torch.sigmoid(output.visibility)
