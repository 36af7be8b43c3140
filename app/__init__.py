"""The service: photo in, cartoon out. Never imports torch."""
