"""The one exception that users are meant to read."""


class InputError(ValueError):
    """Bad usage or bad input.

    The message is one line and names what was wrong (the file, key or option), the value found,
    and what would be right. The command line prints it to stderr and exits with status 2.
    """
