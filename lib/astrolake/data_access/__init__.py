"""Survey catalogs: any table file streamed as Arrow batches and brought to the lake's columns.

`catalog_files` lists and reads files, `normalise` checks positions and identifiers and names
the columns of the table; `formats` has one module for each file format.
"""
