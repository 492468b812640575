"""Photometric redshifts: densities of redshift from templates and from learners, with honest errors."""
