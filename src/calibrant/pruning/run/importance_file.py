"""An importance matrix as a GGUF file, byte for byte as llama.cpp's llama-imatrix lays it out."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

SUMS, COUNTS = ".in_sum2", ".counts"  # what ends the names of an entry's two tensors


def write_importance_file(
    path: Path, tensors: Mapping[str, Tensor], datasets: list[str], chunks: int, chunk_size: int
) -> None:
    """Write the entries of an importance matrix; `path` is a temporary one of `artefacts.atomic`.

    Args:
        path: the file.
        tensors: for each entry, such as `blk.0.attn_q.weight`, ENTRY.in_sum2 [matrices, cols] and ENTRY.counts
            [matrices, 1], float32. An entry of experts has a matrix for each expert, others have one.
        datasets: what the text is called.
        chunks: how many sequences there were.
        chunk_size: tokens of each.
    """
    import gguf

    class Writer(gguf.GGUFWriter):  # type: ignore[misc]  # without types
        def add_architecture(self) -> None:
            """An importance matrix has none."""

    writer = Writer(path, "")
    writer.add_type(gguf.GGUFType.IMATRIX)
    writer.add_array(gguf.Keys.IMatrix.DATASETS, datasets)
    writer.add_uint32(gguf.Keys.IMatrix.CHUNK_COUNT, chunks)
    writer.add_uint32(gguf.Keys.IMatrix.CHUNK_SIZE, chunk_size)
    for entry in sorted(name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS)):
        for name in (entry + SUMS, entry + COUNTS):
            values = tensors[name].numpy().astype(np.float32, copy=False)
            writer.add_tensor(name, values[0] if len(values) == 1 else values)  # GGUF drops dimensions of one
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
