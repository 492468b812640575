"""Cross-match of two positional tables of a lake, cell by cell, without a shuffle of either."""
