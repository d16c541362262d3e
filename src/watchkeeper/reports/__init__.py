"""Reports render what was found. Every other file here is one report."""

from __future__ import annotations
