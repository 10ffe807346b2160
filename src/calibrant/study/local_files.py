"""Files of this machine that the configuration names."""

from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any


def named_files(spec: Mapping[str, Any]) -> list[str]:
    """Paths and glob patterns in the specification of a model, source, text or task; not a model's folder.

    They are the values of `files`, a list or by split, and the `file` of `archive`.
    """
    named = spec.get("files", [])
    archive = spec.get("archive", {}).get("file")
    return [*(named.values() if isinstance(named, Mapping) else named), *([archive] if archive else [])]


def local_files(spec: Mapping[str, Any]) -> list[str]:
    """The files that `spec` names: patterns are replaced by what they match, others stay, there or not.

    Of a model's folder: its configuration and weights.
    """
    if "path" in spec:
        folder = Path(spec["path"])
        weights = list(folder.glob("*.safetensors")) or [folder / "model.safetensors"]
        return [str(path) for path in sorted([folder / "config.json", *weights])]
    # Users' patterns may be absolute, which `Path.glob` refuses.
    return [path for pattern in named_files(spec) for path in sorted(glob(pattern)) or [pattern]]  # noqa: PTH207
