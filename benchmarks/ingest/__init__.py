"""Measure ingest beside the systems that only store what they are sent.

Run `python -m benchmarks.ingest`. One run starts Prometheus, VictoriaMetrics (both from Debian) and
`watchkeeper run` in turn, several times, each on a fresh folder, and sends each the same remote
write requests over two connections. Ours checks contracts, syncs before it acknowledges, and
scores; its processor time is counted until everything it accepted is decided.

Throughput depends on who else uses the machine; processor seconds per million samples hardly do, so
that is what the ratios are made of.
"""
