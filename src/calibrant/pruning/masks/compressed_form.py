"""What of a mask file can be written in the format of compressed-tensors, and what config.json then says of it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from calibrant.errors import InputError
from calibrant.models.checkpoint.key_map import ParameterPlace
from calibrant.pruning.masks.mask_file import MaskFile
from calibrant.pruning.masks.packed_integers import WIDTHS, packed_entries, packed_tensors

METHOD, FORMAT = "compressed-tensors", "pack-quantized"
OTHERWISE = "leave out --format, which writes the same weights in the checkpoint's number format"


def check_packable(file: MaskFile) -> None:
    """Refuse what the format has no place for, before a model is looked at.

    Raises:
        InputError: nothing is quantized, weights are pruned too, or the width or its groups are not the format's.
    """
    where = f"masks {file.path}: --format {METHOD}"
    if file.width is None:
        raise InputError(
            f"{where} holds codes of few bits, and {file.metadata['method']} made none; {OTHERWISE}, or quantize with "
            "rtn, wrtn, gptq or awq"
        )
    if file.pruned:
        raise InputError(
            f"{where} holds no masks, and these prune {file.metadata['sparsity']} too; {OTHERWISE}, or quantize alone"
        )
    if file.width.bits not in WIDTHS:
        raise InputError(
            f"{where} is read alike everywhere with {', '.join(map(str, WIDTHS[:-1]))} or {WIDTHS[-1]} bits, and these "
            f"codes have {file.width.bits}; {OTHERWISE}, or quantize to one of those widths"
        )
    first = next((codes for name in file.masks if (codes := file.quantized(name)) is not None), None)
    if first is not None and first.column_groups is not None:
        raise InputError(
            f"{where} has groups of adjacent columns, and these follow the order in which GPTQ settled the columns; "
            f"{OTHERWISE}, or quantize with --option gptq.static_groups=true"
        )


class PackedLinears:
    """The quantized linears of a mask file as tensors of the format; those of one linear are computed together."""

    def __init__(self, file: MaskFile) -> None:
        check_packable(file)
        self._file = file
        self._latest: tuple[str, Mapping[str, Tensor]] | None = None

    @property
    def names(self) -> set[str]:
        """The linears that have codes."""
        return set(self._file.metadata["quantized"]["codes"])

    def check_places(self, model: nn.Module, places: Mapping[str, ParameterPlace], keys: Mapping[str, str]) -> None:
        """Refuse linears that the format's readers would not find.

        Args:
            model: with its modules; weights are not looked at.
            places: linear -> where its weight lies in the model.
            keys: linear -> the checkpoint's tensor that is its weight, or holds it.

        Raises:
            InputError: a linear is a slice of stacked experts, no `torch.nn.Linear`, or stored under another name.
        """
        for name in sorted(self.names):
            where = f"masks {self._file.path}: {name}: --format {METHOD} holds linear layers that are modules, and this"
            place = places[name]
            if place.expert is not None:
                raise InputError(f"{where} is an expert in a stack of them; {OTHERWISE}")
            if (place.parameter, keys[name]) != (f"{name}.weight", f"{name}.weight"):
                raise InputError(f"{where} is stored as {keys[name]} and loaded as {place.parameter}; {OTHERWISE}")
            if not isinstance(module := model.get_submodule(name), nn.Linear):
                raise InputError(f"{where} is a {type(module).__name__}; {OTHERWISE}")

    def entries(self, name: str) -> dict[str, tuple[str, list[int]]]:
        """The tensors in place of NAME.weight, with safetensors' types and their shapes."""
        width = self._file.width
        assert width is not None
        shape = self._file.metadata["quantized"]["codes"][name]
        groups = shape[1] // (width.group or shape[1])
        found = packed_entries(shape, groups, width.bits, self._file.symmetric)
        return {f"{name}.{key}": entry for key, entry in found.items()}

    def tensor(self, name: str, key: str) -> Tensor:
        """One of them.

        Raises:
            InputError: the codes are damaged, or not as the file says.
        """
        if self._latest is None or self._latest[0] != name:
            quantized = self._file.quantized(name)
            assert quantized is not None
            try:
                self._latest = (name, packed_tensors(quantized, self._file.symmetric))
            except InputError as error:
                raise InputError(f"masks {self._file.path}: {name}: {error}") from None
        return self._latest[1][key.removeprefix(f"{name}.")]

    def config(self, model: nn.Module) -> dict[str, Any]:
        """config.json's `quantization_config`; all other linears of the model are to be ignored, its head too.

        `dequantize` is for transformers, which then computes the weights while it loads them: compressed-tensors 0.20.1
        cannot make room for zeros that are packed, and refuses them otherwise.
        """
        width = self._file.width
        assert width is not None
        weights = {
            "num_bits": width.bits,
            "type": "int",
            "symmetric": self._file.symmetric,
            "strategy": "group" if width.group else "channel",
            "group_size": width.group,
            "actorder": None,  # groups are runs of columns, in whatever order these were settled
            "dynamic": False,
        }
        others = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)} - self.names
        scheme = {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}
        return {
            "quant_method": METHOD,
            "format": FORMAT,
            "quantization_status": "compressed",
            "config_groups": {"group_0": scheme},
            "ignore": sorted(others),
            "kv_cache_scheme": None,
            "global_compression_ratio": None,
            "dequantize": True,
        }
