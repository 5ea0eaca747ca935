"""The scene of the example take in Blender: a furnished room, two lamps and the person of ``example_take_body.py``.

Everything is made here from boxes and plain materials; nothing is loaded, so nothing has an owner but this project.
World Z up, metres, floor at z = 0. ``bpy`` comes as an argument, so that reading this file needs no Blender.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

SEED = 7
MATERIALS = ("skin", "shirt", "trousers", "shoes", "hair", "eye")  # in the order of the body's material numbers


# --- the room and the light ----------------------------------------------------------------------------------------


def material(bpy: Any, name: str, colour: tuple[float, float, float], roughness: float = 0.7) -> Any:
    """Make a plain material and return it."""
    made = bpy.data.materials.new(name)
    if made.node_tree is None:  # Blender before 6
        made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = roughness
    return made


def colour_node(made: Any, node: Any, output: str) -> None:
    """Let a node's output be the colour of a material."""
    tree = made.node_tree
    tree.links.new(node.outputs[output], tree.nodes["Principled BSDF"].inputs["Base Color"])


def box(bpy: Any, name: str, low: Iterable[float], high: Iterable[float], made: Any) -> Any:
    """Add an axis-aligned box between two corners (m) and return it."""
    a, b = np.array(list(low)), np.array(list(high))
    corners = [tuple(np.where([i & 1, i & 2, i & 4], b, a)) for i in range(8)]
    faces = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners, [], faces)
    mesh.materials.append(made)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def floor_material(bpy: Any) -> Any:
    """Return wooden boards: bricks of slightly different browns."""
    made = material(bpy, "floor", (0.3, 0.2, 0.12), 0.55)
    bricks = made.node_tree.nodes.new("ShaderNodeTexBrick")
    places = made.node_tree.nodes.new("ShaderNodeTexCoord")
    made.node_tree.links.new(places.outputs["Object"], bricks.inputs["Vector"])
    settings = {"Scale": 1.0, "Brick Width": 1.3, "Row Height": 0.16, "Mortar Size": 0.004, "Bias": 0.0}
    for name, value in settings.items():
        bricks.inputs[name].default_value = value
    bricks.inputs["Color1"].default_value = (0.36, 0.235, 0.14, 1)
    bricks.inputs["Color2"].default_value = (0.24, 0.145, 0.085, 1)
    bricks.inputs["Mortar"].default_value = (0.07, 0.04, 0.025, 1)
    colour_node(made, bricks, "Color")
    return made


def build_room(bpy: Any) -> None:
    """Add floor, walls, pictures, furniture and a mat."""
    half, tall = 4.3, 3.0
    box(bpy, "floor", (-half, -half, -0.1), (half, half, 0), floor_material(bpy))
    walls = {
        "north": (0.62, 0.60, 0.55),
        "east": (0.42, 0.50, 0.55),
        "south": (0.60, 0.57, 0.52),
        "west": (0.52, 0.55, 0.47),
    }
    spans = {
        "north": ((-half, half, 0), (half, half + 0.1, tall)),
        "south": ((-half, -half - 0.1, 0), (half, -half, tall)),
        "east": ((half, -half, 0), (half + 0.1, half, tall)),
        "west": ((-half - 0.1, -half, 0), (-half, half, tall)),
    }
    for name, colour in walls.items():
        box(bpy, name, *spans[name], material(bpy, name, colour, 0.9))
    white = material(bpy, "skirting", (0.75, 0.74, 0.72))
    for (x0, y0, _), (x1, y1, _) in spans.values():
        inset = np.clip([[x0, y0], [x1, y1]], -half, half)
        box(bpy, "skirting", (*(inset[0] - 0.015), 0), (*(inset[1] + 0.015), 0.09), white)
    generator = np.random.default_rng(SEED)
    for wall in range(4):  # pictures
        for along in (-2.1, 0.4, 2.5):
            width, height, low = generator.uniform(0.4, 0.9), generator.uniform(0.4, 0.8), generator.uniform(1.3, 1.7)
            made = material(bpy, "picture", tuple(generator.uniform(0.05, 0.6, 3)))
            ends = np.array([along - width / 2, along + width / 2])
            near, far = (half - 0.03, half) if wall < 2 else (-half, -half + 0.03)
            pair = [(ends[0], near), (ends[1], far)] if wall % 2 else [(near, ends[0]), (far, ends[1])]
            box(bpy, "picture", (*pair[0], low), (*pair[1], low + height), made)
    wood, green = material(bpy, "wood", (0.33, 0.2, 0.1)), material(bpy, "plant", (0.06, 0.2, 0.06))
    box(bpy, "sideboard", (-1.6, 3.75, 0), (0.2, 4.3, 0.75), wood)
    box(bpy, "shelf", (3.85, -1.2, 0), (4.3, 0.1, 1.9), material(bpy, "shelf", (0.55, 0.5, 0.45)))
    box(bpy, "crate", (-4.1, 0.6, 0), (-3.4, 1.3, 0.6), material(bpy, "crate", (0.5, 0.25, 0.1)))
    box(bpy, "pot", (-4.0, -3.95, 0), (-3.6, -3.55, 0.4), material(bpy, "pot", (0.5, 0.16, 0.08)))
    box(bpy, "bench", (0.6, -4.25, 0), (2.2, -3.8, 0.45), wood)
    for _ in range(40):  # leaves
        middle = np.array([-3.8, -3.75, 0.85]) + generator.uniform(-0.3, 0.3, 3) * [1, 1, 1.4]
        box(bpy, "leaf", middle - [0.09, 0.09, 0.01], middle + [0.09, 0.09, 0.01], green)
    box(bpy, "mat", (-1.5, -1.25, 0), (1.5, 1.25, 0.002), material(bpy, "mat", (0.16, 0.19, 0.24), 0.95))


def light_room(bpy: Any) -> None:
    """Add two large lamps and even light from all around."""
    for place, size, watts in (((1.6, -1.4, 3.4), 2.6, 130), ((-1.9, 1.3, 3.4), 2.6, 85)):
        data = bpy.data.lights.new("lamp", "AREA")
        data.size, data.energy = size, watts
        lamp = bpy.data.objects.new("lamp", data)
        lamp.location = place
        bpy.context.scene.collection.objects.link(lamp)
    world = bpy.data.worlds.new("world")
    if world.node_tree is None:  # Blender before 6
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.9, 0.95, 1.0, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.55
    bpy.context.scene.world = world


# --- the person ----------------------------------------------------------------------------------------------------


def shirt_material(bpy: Any) -> Any:
    """Return a shirt with broad stripes that follow the body at rest."""
    made = material(bpy, "shirt", (0.1, 0.2, 0.5), 0.85)
    nodes, links = made.node_tree.nodes, made.node_tree.links
    rest = nodes.new("ShaderNodeAttribute")
    rest.attribute_name = "rest"
    split, wave, ramp = (nodes.new(f"ShaderNode{kind}") for kind in ("SeparateXYZ", "Math", "ValToRGB"))
    wave.operation = "PINGPONG"
    wave.inputs[1].default_value = 0.045
    links.new(rest.outputs["Vector"], split.inputs["Vector"])
    links.new(split.outputs["Z"], wave.inputs[0])
    links.new(wave.outputs["Value"], ramp.inputs["Fac"])
    ramp.color_ramp.interpolation = "CONSTANT"
    ramp.color_ramp.elements[0].color = (0.03, 0.13, 0.38, 1)
    ramp.color_ramp.elements[1].color = (0.62, 0.63, 0.6, 1)
    ramp.color_ramp.elements[1].position = 0.032
    colour_node(made, ramp, "Color")
    return made


def person_materials(bpy: Any) -> list[Any]:
    """Return the person's materials in the order of MATERIALS."""
    made = {
        "shirt": shirt_material(bpy),
        "trousers": material(bpy, "trousers", (0.085, 0.08, 0.075), 0.9),
        "shoes": material(bpy, "shoes", (0.55, 0.53, 0.5), 0.6),
        "hair": material(bpy, "hair", (0.035, 0.02, 0.012), 0.6),
    }
    for name, roughness in (("skin", 0.55), ("eye", 0.15)):
        made[name] = material(bpy, name, (0.5, 0.3, 0.2), roughness)
        colour = made[name].node_tree.nodes.new("ShaderNodeAttribute")
        colour.attribute_name = "colour"
        colour_node(made[name], colour, "Color")
    return [made[name] for name in MATERIALS]


def build_person(bpy: Any, body: dict[str, np.ndarray]) -> Any:
    """Add the person's mesh and return its object; the frames' vertices are set later."""
    mesh = bpy.data.meshes.new("person")
    mesh.from_pydata(body["vertices"][0].tolist(), [], body["faces"].tolist())
    for made in person_materials(bpy):
        mesh.materials.append(made)
    mesh.polygons.foreach_set("material_index", body["material"])
    mesh.polygons.foreach_set("use_smooth", np.ones(len(body["faces"]), bool))
    mesh.attributes.new("rest", "FLOAT_VECTOR", "POINT").data.foreach_set("vector", body["rest"].ravel())
    rgba = np.concatenate([body["colour"], np.ones((len(body["colour"]), 1), np.float32)], axis=1)
    mesh.attributes.new("colour", "FLOAT_COLOR", "POINT").data.foreach_set("color", rgba.ravel())
    person = bpy.data.objects.new("person", mesh)
    bpy.context.scene.collection.objects.link(person)
    return person
