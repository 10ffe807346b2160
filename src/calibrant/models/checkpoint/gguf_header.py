"""What a GGUF file says of itself, read from its header alone and compared with the file's length."""

import math
import mmap
import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrant.artefacts.file_kinds import plain_file
from calibrant.errors import InputError, shown

VERSIONS = (2, 3)
LONGEST_TEXT = 1 << 16  # of a value that is kept; tokens and templates are passed over
SHARD = re.compile(r".*-[0-9]{5}-of-([0-9]{5})\.gguf", re.IGNORECASE)
SCALARS = {
    **{0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i"},
    **{6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"},
}  # GGUF's types of values, as the module struct names them; 8 is a text, 9 an array
TEXT, ARRAY = 8, 9


@dataclass(frozen=True)
class GgufHeader:
    """The header of a GGUF file.

    values: its metadata by key: numbers and texts; of an array its length.
    types: of each tensor with two dimensions or more in the decoder layers, the name of its type -> its numbers.
    """

    values: dict[str, Any]
    types: dict[str, int]

    @property
    def weight_type(self) -> str:
        """The type of most weights, such as Q4_1, Q4_K, F16."""
        return max(self.types, key=lambda name: self.types[name])

    @property
    def file_type(self) -> str:
        """What kind of file it calls itself, such as Q4_K_M; the type of most weights where it does not say."""
        import gguf

        number = self.values.get("general.file_type")
        names = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
        return names.get(number, self.weight_type) if isinstance(number, int) else self.weight_type

    @property
    def bits(self) -> int:
        """The bits of a code of most weights: 4 of Q4_1 and Q4_K, 16 of F16 and BF16; scales are not counted."""
        found = re.search("[0-9]+", self.weight_type)
        assert found is not None
        return int(found[0])


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check the header of a model's GGUF file, not its tensors.

    Raises:
        InputError: not a GGUF file, cut off, one of several parts, no model, a model without a tokenizer, or tensors of
            a type that is not known.
    """
    where = f"model {shown(path)}"
    plain_file(path, "model")
    if part := SHARD.fullmatch(path.name):
        raise InputError(
            f"{where}: is one of {int(part[1])} parts; join them with `llama-gguf-split --merge`, and give the whole"
        )
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise InputError(f"{where}: not a GGUF file (it does not start with GGUF)")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                header = _Reader(content, where).header()
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror})") from error
    _check_model(header, where)
    return header


def _check_model(header: GgufHeader, where: str) -> None:
    values = header.values
    if "general.architecture" not in values or not header.types:
        kind = values.get("general.type", "no architecture and no decoder layers")
        raise InputError(f"{where}: holds no model ({shown(kind)}); give the file with the model's weights")
    if isinstance(values.get("split.count"), int) and values["split.count"] > 1:
        raise InputError(
            f"{where}: is one of {values['split.count']} parts; join them with `llama-gguf-split --merge`, and give "
            "the whole"
        )
    if not values.get("tokenizer.ggml.tokens"):
        raise InputError(f"{where}: has no tokenizer; give a file that holds the model's tokenizer too")


class _Reader:
    """Reads a header from its beginning; every length in it is compared with what is left of the file."""

    def __init__(self, content: mmap.mmap, where: str) -> None:
        self._content = content
        self._where = where
        self._at = 4

    def header(self) -> GgufHeader:
        version = self._number("I")
        if version not in VERSIONS:
            big = int.from_bytes(int(version).to_bytes(4, "little"), "big")
            kind = "big-endian" if big in VERSIONS else f"of version {version}"
            raise InputError(f"{self._where}: is a GGUF file that is {kind}; versions 2 and 3, little-endian, are read")
        tensors, count = self._number("Q"), self._number("Q")
        values: dict[str, Any] = {}
        for _ in range(count):
            key = self._text()
            values[key] = self._value(self._number("I"))
        return GgufHeader(values, self._tensors(tensors, values.get("general.alignment", 32)))

    def _tensors(self, count: int, alignment: Any) -> dict[str, int]:
        import gguf

        kinds = {int(kind): kind for kind in gguf.GGMLQuantizationType}
        types: Counter[str] = Counter()
        end, last = 0, ""
        for _ in range(count):
            name = self._text()
            shape = [self._number("Q") for _ in range(self._dimensions(name))]
            kind, offset = kinds.get(number := self._number("I")), self._number("Q")
            if kind is None:
                raise InputError(f"{self._where}: tensor {shown(name)} is of type {number}, which gguf does not know")
            block, size = gguf.GGML_QUANT_SIZES[kind]
            numbers = math.prod(shape)
            if offset + numbers // block * size >= end:
                end, last = offset + numbers // block * size, name
            if len(shape) > 1 and name.startswith("blk."):
                types[kind.name] += numbers
        if not isinstance(alignment, int) or alignment <= 0:
            raise InputError(f"{self._where}: its general.alignment is {shown(alignment)}; it must be above 0")
        end += -(-self._at // alignment) * alignment
        if end > len(self._content):
            raise InputError(
                f"{self._where}: cut off: tensor {shown(last)} ends at byte {end:,}, the file at {len(self._content):,}"
            )
        return dict(types)

    def _dimensions(self, name: str) -> int:
        found: int = self._number("I")
        if found > 4:
            raise InputError(f"{self._where}: tensor {shown(name)} has {found} dimensions; GGUF has at most 4")
        return found

    def _value(self, kind: int) -> Any:
        if kind == TEXT:
            return self._text()
        if kind != ARRAY:
            return self._number(self._scalar(kind))
        of, count = self._number("I"), self._number("Q")
        if of == TEXT:
            for _ in range(count):
                self._take(self._number("Q"))
        else:
            self._take(count * struct.calcsize(self._scalar(of)))
        return count

    def _scalar(self, kind: int) -> str:
        if kind not in SCALARS:
            raise InputError(f"{self._where}: damaged: no value of GGUF is of type {kind}")
        return SCALARS[kind]

    def _number(self, kind: str) -> Any:
        return struct.unpack_from(f"<{kind}", self._content, self._take(struct.calcsize(kind)))[0]

    def _text(self) -> str:
        length = self._number("Q")
        start = self._take(length)
        return self._content[start : start + min(length, LONGEST_TEXT)].decode("utf-8", "replace")

    def _take(self, size: int) -> int:
        """Pass over so many bytes; where they begin."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._content):
            raise InputError(f"{self._where}: cut off in its header, after {len(self._content):,} bytes")
        return start
