"""The networks: manifest and contracts, training, evaluation, conversion.

Imports nothing of `photo2cartoon`. The service reads `manifest` and `preprocess`, the command line
runs the rest.
"""

import os

# ONNX Runtime 1.29 and newer report to their maker unless this is set before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
