"""Weight packing of CPU matrix products: oneDNN first copies weights of dtypes that it multiplies natively.

torch passes products of bfloat16 and float16 to oneDNN if the CPU has AVX-512 (or AMX) for them. oneDNN needs the
second factor in its blocked layout (ideep's `matmul_forward`, weights of `format_tag::any`): each product allocates a
packed copy of its whole weight, and frees it.
"""

import torch
from torch.backends import mkldnn

PACKED_BLOCK = 64  # oneDNN pads both sides of a matrix to a multiple of at most this
NARROW_BYTES = 2


def packs_weights(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether products of that dtype on that device allocate a packed copy of the weight."""
    if device.type != "cpu" or not mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float16 and bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


def packed_bytes(rows: int, columns: int) -> int:
    """Bytes of the packed copy of a matrix of 16-bit numbers."""
    return NARROW_BYTES * _padded(rows) * _padded(columns)


def _padded(numbers: int) -> int:
    return -(-numbers // PACKED_BLOCK) * PACKED_BLOCK
