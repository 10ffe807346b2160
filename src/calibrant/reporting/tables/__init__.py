"""Tables as data, their forms in files, and the tables of studies and of the paper."""
