"""The Blender extension; everything stands in `addon`."""

try:
    import bpy as _bpy  # noqa: F401
except ModuleNotFoundError:  # plain Python: `inference` works without Blender
    pass
else:
    from .addon import register, unregister  # noqa: F401
