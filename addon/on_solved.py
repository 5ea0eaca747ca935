"""What operators and panels share that are about a result."""

import bpy


class OnSolved:
    """Only where something was solved."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.sightline.solution_path)
