"""The two exceptions that users are meant to read, and how texts of theirs are shown to them."""

import errno
import re

LONGEST = 200  # characters of a value that a message shows
# What a terminal would obey, or could not print: control characters, marks that turn the direction of a line, and
# halves of surrogate pairs, which stand for bytes of a file's name that are no UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Errors of the operating system that no other input or option would mend.
OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE)
FULL = re.compile(r"no space left|disk quota exceeded|read-only file system|file too large", re.IGNORECASE)


class InputError(ValueError):
    """Bad usage or bad input.

    The message is one line and names what was wrong (the file, key or option), the value found,
    and what would be right. The command line prints it to stderr and exits with status 2.
    """


class MachineError(RuntimeError):
    """What this computer cannot do now: a disk is full, a folder read-only, memory at its end.

    The message is one line with the path and the reason. The command line prints it to stderr and exits with status 1.
    The same command goes on once there is room.
    """


def shown(text: object, longest: int = LONGEST) -> str:
    r"""A text of the user's as a message shows it: control characters as `\x1b`, a long one without its middle."""
    try:
        found = str(text)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"
    if len(found) > longest:
        found = f"{found[: longest // 2]}...{found[-longest // 4 :]} ({len(found)} characters)"
    return printable(found)


def shown_value(value: object, longest: int = LONGEST) -> str:
    """A value of a configuration as a message shows it: texts in quotes."""
    try:
        return shown(repr(value), longest)
    except ValueError:  # a number of more than 4,300 digits
        return "a number of thousands of digits"


def printable(text: str) -> str:
    r"""The same text with control characters written out, as `\x1b`, so that a terminal prints them and obeys none."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: object) -> str:
    """A message as one printable line, each run of white space one space."""
    return printable(" ".join(str(text).split()))


def reason_of(error: BaseException) -> str:
    """The reason that an error gives, without its class, number and path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory"
    return one_line(error) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an error's message, which for some libraries runs over many."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an error is one that other input would not mend; libraries in Rust or C++ say so in words only."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, MachineError):
        return False  # said already
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in OF_THE_MACHINE
    return isinstance(error, Exception) and FULL.search(str(error)) is not None
