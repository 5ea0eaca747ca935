"""Training data: the pack of bodies, motions and backgrounds, and what is made of it."""
