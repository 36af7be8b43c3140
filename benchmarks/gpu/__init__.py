"""What only a GPU can show; every command runs on a CPU too, at small size."""
