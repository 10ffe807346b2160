"""The command line: flags made of what stages say, and the server that spares jobs their imports."""
