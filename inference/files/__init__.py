"""Readers and writers, one file per format; each converts to our conventions on the way in."""
