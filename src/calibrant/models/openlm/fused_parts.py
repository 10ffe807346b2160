"""The parts of OpenLM's fused linears, for methods that treat them as the linears they stand for."""

PARTS = {"in_proj": ("q", "k", "v"), "w12": ("w1", "w2")}


def fused_splits(module_name: str, rows: int) -> dict[str, slice]:
    """Row ranges of each part of a fused linear, in the checkpoint's order.

    Args:
        module_name: as `named_modules` gives it, e.g. `model.layers.0.attention.in_proj`.
        rows: number of output rows of its weight.

    Returns:
        `{"q": slice, "k": slice, "v": slice}` for `in_proj`, `{"w1": slice, "w2": slice}` for `w12` (w1 is the
        gate), `{}` for a linear that is not fused.

    Raises:
        ValueError: the rows cannot be shared out evenly, so this is not an OpenLM linear.
    """
    parts = PARTS.get(module_name.rpartition(".")[2], ())
    if not parts:
        return {}
    size, rest = divmod(rows, len(parts))
    if rest:
        raise ValueError(f"{module_name}: {rows} rows do not split into {len(parts)} equal parts ({', '.join(parts)})")
    return {part: slice(i * size, (i + 1) * size) for i, part in enumerate(parts)}
