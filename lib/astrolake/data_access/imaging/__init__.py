"""From a region of the sky to the image files of a survey."""
