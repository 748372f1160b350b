"""A search for the segmentation loss that suits your own images."""
