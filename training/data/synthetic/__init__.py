"""Synthetic people: scenes drawn by chance, rendered in plain PyTorch with exact truth."""
