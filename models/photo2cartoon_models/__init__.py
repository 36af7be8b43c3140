"""The networks: manifest and contracts, conversion, training. Imports nothing of `app`."""
