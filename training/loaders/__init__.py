"""Data sets of others, and solved takes, as labelled pictures in our conventions. The user brings the data."""
