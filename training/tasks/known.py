"""All tasks that a configuration can name, by system."""

from __future__ import annotations

from collections.abc import Mapping

from ..trainer.task import Task
from .adapt import AdaptTask
from .flow import FlowTask
from .keypoints import KeypointTask
from .paper_flow import PaperFlowTask
from .persons import PersonTask
from .spatial import SpatialTask

TASKS: Mapping[str, Mapping[str, type[Task]]] = {
    "detector": {"keypoints": KeypointTask, "person": PersonTask, "adapt": AdaptTask},
    "flow": {"pose": FlowTask, "paper": PaperFlowTask},
    "spatial_uncertainty": {"views": SpatialTask},
}
