"""Watchkeeper turns fleet telemetry into health, guarded decisions and reports that replay."""

__version__ = "0.1.0"
