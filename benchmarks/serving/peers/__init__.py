"""Each peer serves the same stages its own recommended way: one file, one environment each.

A file runs as `python -m benchmarks.serving.peers.NAME PORT WORKERS DEADLINE_MS WORK_MS` in the
environment that `benchmarks.serving.install` made of `NAME.txt`, and answers `POST /cartoonize`.
DEADLINE_MS and the time of one photo alone, WORK_MS, set whatever the peer has to give up or refuse
a request that would be late. Telemetry is off.
"""
