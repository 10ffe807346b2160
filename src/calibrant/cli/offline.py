"""Whether the hub's libraries may use a network, in a process that had them before it knew for whom it works."""

import os
import sys

OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
OFFLINE_VALUES = ("1", "ON", "YES", "TRUE")
OFFLINE_READERS = ("huggingface_hub.constants", "datasets.config")  # they read the variable when they are imported


def follow_offline() -> None:
    """Tell the hub's libraries, which were imported under the server's environment, whether this job is offline."""
    offline = os.environ.get(OFFLINE_VARIABLE, "").upper() in OFFLINE_VALUES
    for name in OFFLINE_READERS:
        if name in sys.modules:
            vars(sys.modules[name])[OFFLINE_VARIABLE] = offline
