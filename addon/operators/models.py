"""The preferences' buttons: test a Python, copy the command that makes one, add, fetch, remove and choose models."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportInvalidTypeForm=false

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from ...inference.perception.manage import add_model, remove_model
from .. import errands
from ..job import ROOT
from ..known_models import forget_models
from ..preferences import chosen_python, environment_command, preferences
from .guarded import guarded

ADAPT = ROOT / "training" / "adapt.py"


def describe_python(said: dict[str, Any]) -> str:
    """Make a sentence of what `inference.probe` said."""
    words = (
        f"Python {said['python']} with ONNX Runtime {said['onnxruntime']} ({', '.join(said['providers'])}): "
        f"{said['network']} does {said['images_per_s']:.0f} images/s on {said['provider']}"
    )
    return ". ".join([words, *said["notes"]])


def _begin(operator: bpy.types.Operator, name: str, arguments: list[str], finish: Callable[[Any], str]) -> set[str]:
    def begin() -> set[str]:
        errands.begin(name, chosen_python(), arguments, finish)
        return {"FINISHED"}

    return guarded(operator, begin)


class SIGHTLINE_OT_test_python(bpy.types.Operator):
    """Try the Python above: what it can run on and how fast, or the reason why it cannot be used"""  # noqa: D415

    bl_idname = "sightline.test_python"
    bl_label = "Test Python"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return not errands.busy()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        return _begin(self, "Testing the Python", ["-m", "inference.probe"], describe_python)


class SIGHTLINE_OT_copy_command(bpy.types.Operator):
    """Copy the command that makes a Python with a GPU runtime; paste it into a terminal"""  # noqa: D415

    bl_idname = "sightline.copy_command"
    bl_label = "Copy Command"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = environment_command()
        self.report({"INFO"}, "Copied; paste it into a terminal")
        return {"FINISHED"}


class SIGHTLINE_OT_cancel_errand(bpy.types.Operator):
    """Stop what is being done"""  # noqa: D415

    bl_idname = "sightline.cancel_errand"
    bl_label = "Cancel"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        errands.cancel()
        return {"FINISHED"}


class SIGHTLINE_OT_refresh_models(bpy.types.Operator):
    """Look for models again"""  # noqa: D415

    bl_idname = "sightline.refresh_models"
    bl_label = "Refresh Models"

    def execute(self, _context: bpy.types.Context) -> set[str]:
        forget_models()
        return {"FINISHED"}


class SIGHTLINE_OT_open_model(bpy.types.Operator):
    """Show where this model comes from, its sha256, and everything that was measured"""  # noqa: D415

    bl_idname = "sightline.open_model"
    bl_label = "Show Model"
    bl_options = {"INTERNAL"}

    model: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        status = context.window_manager.sightline
        status.opened_model = "" if status.opened_model == self.model else self.model
        return {"FINISHED"}


class SIGHTLINE_OT_add_model(bpy.types.Operator, ImportHelper):
    """Add a model of your own by its card, a TOML file with the network beside it; both are tried, then copied"""  # noqa: D415

    bl_idname = "sightline.add_model"
    bl_label = "Add Card"

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.toml", options={"HIDDEN"})

    def execute(self, _context: bpy.types.Context) -> set[str]:
        def add() -> set[str]:
            card = add_model(Path(self.filepath))
            forget_models()
            self.report({"INFO"}, f"Added {card.name}, licence {card.licence}")
            return {"FINISHED"}

        return guarded(self, add)


class SIGHTLINE_OT_remove_model(bpy.types.Operator):
    """Remove this model of your own: its card and its network"""  # noqa: D415

    bl_idname = "sightline.remove_model"
    bl_label = "Remove Model"

    model: StringProperty(options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        def remove() -> set[str]:
            remove_model(self.model)
            forget_models()
            return {"FINISHED"}

        return guarded(self, remove)


class SIGHTLINE_OT_fetch_models(bpy.types.Operator):
    """Download this pack of networks; needs your consent here and Blender's permission to go online"""  # noqa: D415

    bl_idname = "sightline.fetch_models"
    bl_label = "Fetch"

    pack: StringProperty(default="blazepose", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        chosen = preferences()
        if not bpy.app.online_access:
            cls.poll_message_set("Blender is offline: Preferences > System > Network > Allow Online Access")
            return False
        if chosen is None or not chosen.allow_fetch:
            cls.poll_message_set("Tick Allow Fetching Models first")
            return False
        return not errands.busy()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        def fetched(_said: dict[str, Any]) -> str:
            forget_models()
            return f"Fetched {self_pack}"

        self_pack = self.pack
        arguments = ["-m", "inference", "models", "fetch", self_pack, "--progress", "json"]
        return _begin(self, f"Fetching {self_pack}", arguments, fetched)


class SIGHTLINE_OT_adapt_detector(bpy.types.Operator):
    """Adapt the chosen detector to this take in the background: what several cameras agree on teaches it how wrong it is, or trains weights of ours. Kept only if it is better on a camera and on frames that took no part. Needs PyTorch in the Python above"""  # noqa: D415, E501

    bl_idname = "sightline.adapt_detector"
    bl_label = "Adapt to This Shoot"

    weights: StringProperty(
        name="Weights",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
        description="Weights of Sightline's own network (.safetensors), to train them on this take. Empty: no network "
        "is trained, the detector only learns how wrong it is here",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = adapting_impossible(context.scene)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=480)

    def draw(self, context: bpy.types.Context) -> None:
        take, out = _adapting(context.scene)
        column = self.layout.column(align=True)
        column.label(text=f"Take: {take}")
        column.label(text=f"Detector: {context.scene.sightline.detector}")
        column.label(text=f"Results go to {out.name} beside the take")
        column.label(text="A few minutes in the background; the cross beside the bar stops it")
        self.layout.prop(self, "weights")

    def execute(self, context: bpy.types.Context) -> set[str]:
        take, out = _adapting(context.scene)
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{take.parent.name}_{out.name}")
        arguments = [str(ADAPT), str(take), "--out", str(out), "--name", name]
        arguments += ["--teacher", context.scene.sightline.detector]
        arguments += ["--start", bpy.path.abspath(self.weights)] if self.weights else []
        return _begin(self, "Adapting", [*arguments, "--progress", "json", "--listen"], adapted)


def _adapting(scene: bpy.types.Scene) -> tuple[Path, Path]:
    """Return the take that is adapted to, and a folder beside it that no adaptation has come to its end in."""
    take = Path(bpy.path.abspath(scene.sightline.take_path))
    places = (take.parent / f"adapted_{number}" for number in range(1, 1000))
    return take, next(place for place in places if not (place / "evidence.json").exists())


def adapting_impossible(scene: bpy.types.Scene) -> str:
    """Return why the detector cannot be adapted now, "" if it can be tried."""
    if not ADAPT.is_file():
        return "This installation has no training part; build the extension from a newer source"
    if not scene.sightline.take_path:
        return "Solve the take first, or choose a take file"
    chosen = preferences()
    if chosen is None or not chosen.python.strip():
        return "Choose a Python with torch, safetensors, tensorboard and onnx above: Blender's own has none of them"
    return "Something else is being done; wait for it" if errands.busy() else ""


def adapted(said: dict[str, Any]) -> str:
    """Make a sentence of what `training/adapt.py` said, and add the model that it kept."""
    if "card" not in said:
        return f"The detector stays as it is: {said['verdict'].removeprefix('not kept: ')}"
    card = add_model(Path(said["card"]))
    forget_models()
    return f"Added {card.name}, to be chosen in the step Person: {said['verdict'].removeprefix('kept: ')}"


class SIGHTLINE_OT_choose_detector(bpy.types.Operator):
    """Use this detector"""  # noqa: D415

    bl_idname = "sightline.choose_detector"
    bl_label = "Choose Detector"
    bl_options = {"UNDO"}

    detector: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.sightline.detector = self.detector
        return {"FINISHED"}


CLASSES = (
    SIGHTLINE_OT_test_python,
    SIGHTLINE_OT_copy_command,
    SIGHTLINE_OT_cancel_errand,
    SIGHTLINE_OT_refresh_models,
    SIGHTLINE_OT_open_model,
    SIGHTLINE_OT_add_model,
    SIGHTLINE_OT_remove_model,
    SIGHTLINE_OT_fetch_models,
    SIGHTLINE_OT_adapt_detector,
    SIGHTLINE_OT_choose_detector,
)
