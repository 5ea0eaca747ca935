"""Everything that computes: from footage and cameras to skeleton motion with covariance.

Imports neither Blender nor PyTorch; runs as a child process of the add-on and in plain Python.
The way in is `pipeline.solve`; the types that stages exchange stand in `types.py`.
"""

__version__ = "0.1.0"
