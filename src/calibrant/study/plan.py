"""What a study will do, counted before anything runs."""

from collections import Counter
from typing import Any

from calibrant.study.grid import runs


def plan(config: dict[str, Any]) -> dict[str, int]:
    """Count the distinct artefacts of a resolved study; what several grids ask for counts once."""
    found = runs(config)
    keys = {run.calibration for run in found if run.calibration}
    pools = {key.pool for key in keys if key.origin == "synthetic"}
    generation, calibration = config["generation"], config["calibration"]
    return {
        "sources": len(config["sources"]),
        "calibration sets of real text": sum(key.origin == "real" for key in keys),
        "calibration sets of generated text": sum(key.origin == "synthetic" for key in keys),
        "pools of generated samples": len(pools),
        "tokens to generate": len(pools) * generation["samples"] * calibration["length"],
        **{f"masks by {name}": n for name, n in sorted(Counter(r.method for r in found).items()) if name != "dense"},
        "masks": sum(run.method != "dense" for run in found),
        "evaluations": len(found),
    }
