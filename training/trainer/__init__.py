"""One trainer for every system: the loop, its settings, checkpoints that survive anything, several processes."""
