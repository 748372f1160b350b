"""The results of a search as a page, pictures and a table on the terminal."""
