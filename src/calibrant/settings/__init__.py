"""Every setting of stages and methods: its name, default, help and bounds, in one place. Imports nothing heavy."""
