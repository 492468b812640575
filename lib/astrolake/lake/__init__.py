"""All table IO: paths, sessions, Delta commits, HATS metadata, local SQL, provenance, rejects."""
