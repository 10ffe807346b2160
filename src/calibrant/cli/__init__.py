"""The command line: `calibrant STAGE ...`, one module per stage, imported only when it is called."""
