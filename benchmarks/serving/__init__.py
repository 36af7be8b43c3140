"""Our service under load beside its peers: `python -m benchmarks.serving --help`."""
