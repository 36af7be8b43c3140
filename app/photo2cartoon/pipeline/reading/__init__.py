"""What photos from the world need besides a decoder: colours, damaged files, kinds of TIFF."""
