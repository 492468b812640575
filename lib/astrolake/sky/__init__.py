"""The geometry of the sky, on numpy arrays: HEALPix, separations, epochs, matching."""
