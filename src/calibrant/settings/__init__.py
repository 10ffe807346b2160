"""Every setting of stages and methods, said once: name, default, help, bounds."""
