"""The networks: manifest and contracts, training, evaluation, conversion.

Imports nothing of `photo2cartoon`. The service reads `manifest` and `preprocess`, the command line
runs the rest.
"""
