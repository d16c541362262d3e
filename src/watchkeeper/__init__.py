"""Watchkeeper turns fleet telemetry into health, guarded decisions and reports that replay."""

from watchkeeper._kernels import keep_apart

__version__ = "0.1.0"

keep_apart()
