"""Cameras from what they see: the moving person, a board; and what is wrong with given ones."""
