"""Measurements that anyone can run again; each prints one table. `python -m benchmarks.NAME`."""
