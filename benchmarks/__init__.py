"""Measurements that anyone can run again; each prints one table. `python -m benchmarks.NAME`."""

import os

# ONNX Runtime 1.29 and newer report to their maker unless this is set before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
