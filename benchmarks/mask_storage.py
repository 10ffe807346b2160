"""Bits a weight that masks take: as stored (a bit each), compressed with zstd, and the bound of any code.

    .venv/bin/python benchmarks/mask_storage.py MASKS.safetensors ...

The bound takes weights as independent at each row's own ratio, or groups of M as independent choices of N.
"""

import argparse
import math
import re
import time
from pathlib import Path

import zstandard

from calibrant.pruning.masks.mask_file import read_masks


def entropy(ratio: float) -> float:
    """Bits of a weight that is pruned with this probability."""
    return 0.0 if ratio in (0, 1) else -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)


def bound(sparsity: str) -> float:
    """Bits a weight of the shortest code without knowledge of the weights."""
    if match := re.fullmatch(r"(\d+):(\d+)", sparsity):
        kept, group = int(match[1]), int(match[2])
        return math.log2(math.comb(group, kept)) / group
    return entropy(float(sparsity))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("masks", nargs="+", type=Path)
    options = parser.parse_args()
    print(
        "| method | sparsity | stored | zstd -3 | zstd -19 | bound | s to compress (-3), to read |\n" + "|---" * 7 + "|"
    )
    for path in options.masks:
        found = read_masks(path)
        weights = sum(mask.numel() for mask in found.masks.values())
        content = path.read_bytes()
        sizes, seconds = [], []
        for level in (3, 19):
            start = time.process_time()
            packed = zstandard.ZstdCompressor(level=level).compress(content)
            seconds.append(time.process_time() - start)
            sizes.append(8 * len(packed) / weights)
            start = time.process_time()
            assert zstandard.ZstdDecompressor().decompress(packed) == content
            seconds.append(time.process_time() - start)
        sparsity = str(found.metadata["sparsity"])
        cells = [str(found.metadata["method"]), sparsity, f"{8 * len(content) / weights:.3f}"]
        cells += [*(f"{size:.3f}" for size in sizes), f"{bound(sparsity):.3f}", f"{seconds[0]:.2f}, {seconds[1]:.2f}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
