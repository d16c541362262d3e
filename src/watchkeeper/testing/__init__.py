"""Checks every plug of a family must pass. Plug authors import this; the house never does."""
