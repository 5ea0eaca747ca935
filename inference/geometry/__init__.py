"""Cameras, lenses, triangulation and association: what pixels say about space."""
