"""One module per catalog format: each gives a file's schema and streams its rows as Arrow batches."""
