"""One function for each stage, from files to a file: what the command line, the workflow and Python call."""
