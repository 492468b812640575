"""Archives on the web: a polite client, and the query protocols of catalogs."""
