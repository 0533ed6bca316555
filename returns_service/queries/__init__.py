"""Reads for the API, the pages and the command line. They lock nothing and write nothing."""
