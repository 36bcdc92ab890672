"""The tile sizes that the autotuner chooses among, and which of them fit on chip.

A program of the forward pass or of dq keeps ROWS queries and loops over their past, COLUMNS keys at a time. A program
of dk or dv keeps COLUMNS keys and loops over their future, ROWS queries at a time.

At a width of 256, the registers of an NVIDIA multiprocessor hold the float32 sums of 128 rows beside the scores, and no
more. One program for dk and dv would keep two such sums and so only half the rows. They are therefore two launches,
which compute 8 products of tiles instead of 7.

All other tiles lie in shared memory. In bfloat16, 128 queries and twice 64 keys and values take 192 KiB. float32 takes
twice as much, and a GPU with less shared memory gets smaller tiles. The autotuner chooses among the tiles that fit. A
prepared configuration saves that search.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

# Extent kept, extent of a step, warps, stages. The interpreter cannot time them, so it gets a single one.
_CANDIDATES = (
    ((32, 16, 4, 1),)
    if os.environ.get("TRITON_INTERPRET") == "1"
    else (
        (128, 128, 8, 2),
        (128, 64, 8, 3),
        (128, 64, 8, 2),
        (128, 64, 4, 2),
        (128, 32, 8, 3),
        (128, 32, 8, 2),
        (128, 16, 8, 3),
        (128, 16, 8, 2),
        (64, 64, 8, 2),
        (64, 64, 4, 2),
        (64, 32, 8, 2),
        (64, 32, 4, 2),
        (64, 16, 4, 2),
        (64, 16, 4, 1),
        (32, 32, 4, 2),
        (32, 16, 4, 2),
        (16, 16, 4, 2),
        (16, 16, 4, 1),
    )
)

_SUM_REGISTERS = 128  # of a thread's 255: kernels whose sums take more are slow


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """What a program of a kernel holds on chip.

    Attributes:
        kept: The extent that a program keeps, ``ROWS`` or ``COLUMNS``. It loops along the other.
        inputs: The number of input tiles that it keeps. It loops over two more.
    """

    kept: str
    inputs: int

    def shared_bytes(self, config: triton.Config, *, width: int, element_size: int, products: str) -> int:
        """Return the most shared memory that a candidate takes: its tiles, and some for sums between warps."""
        kept, step = self._extents(config)
        if products == "bf16x6":  # three bfloat16 parts of each tile, and what was loaded ahead
            tiles = 3 * 2 * (self.inputs * kept + step) + 2 * (config.num_stages - 1) * step * element_size
        else:
            tiles = (self.inputs * kept + 2 * config.num_stages * step) * element_size
        return int(tiles * width + 2048)

    def fits(self, config: triton.Config, *, width: int, element_size: int, products: str, room: int) -> bool:
        """Tell whether a candidate fits into `room` bytes of shared memory, and its sums into registers."""
        kept, step = self._extents(config)
        registers = kept * width // (32 * config.num_warps)
        needlessly_narrow = step == 16 and kept > 32 and element_size == 2  # wider ones fit
        shared = self.shared_bytes(config, width=width, element_size=element_size, products=products)
        return not needlessly_narrow and registers <= _SUM_REGISTERS and shared <= room

    def _extents(self, config: triton.Config) -> tuple[int, int]:
        rows, columns = config.kwargs["ROWS"], config.kwargs["COLUMNS"]
        return (rows, columns) if self.kept == "ROWS" else (columns, rows)


FORWARD = Tiles(kept="ROWS", inputs=1)
QUERY_GRADIENT = Tiles(kept="ROWS", inputs=2)
KEY_GRADIENT = Tiles(kept="COLUMNS", inputs=2)
VALUE_GRADIENT = Tiles(kept="COLUMNS", inputs=1)


def autotune_options(tiles: Tiles, *keys: str) -> dict[str, Any]:
    """Return the options of `triton.autotune` for a kernel: its candidates, and the arguments it chooses by."""

    def fitting(configs: Sequence[triton.Config], arguments: Mapping[str, Any], **more: Any) -> list[triton.Config]:
        q: Tensor = arguments["q"]
        launched = VALUE_GRADIENT if more.get("VALUES") else tiles
        sizes = {
            "width": more["WIDTH"],
            "element_size": q.element_size(),
            "products": more["PRODUCTS"],
            "room": torch.cuda.get_device_properties(q.device).shared_memory_per_block_optin,  # type: ignore[attr-defined]
        }
        return [config for config in configs if launched.fits(config, **sizes)] or [configs[-1]]

    configs = [
        triton.Config(
            {"ROWS": kept, "COLUMNS": step} if tiles.kept == "ROWS" else {"ROWS": step, "COLUMNS": kept},
            num_warps=warps,
            num_stages=stages,
        )
        for kept, step, warps, stages in _CANDIDATES
    ]
    return {
        "configs": configs,
        "key": ["WIDTH", "length_bucket", "PRODUCTS", *keys],
        "prune_configs_by": {"early_config_prune": fitting},
    }
