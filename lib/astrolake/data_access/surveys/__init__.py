"""Surveys: one declarative file each, which says where its data are and what its columns mean."""
