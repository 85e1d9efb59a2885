"""A volume as the bytes of a NIfTI file, for a viewer that reads nothing else."""

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped

__all__ = ["nifti_bytes"]

AS_THEY_ARE = ("uint8", "int16", "uint16")
"""Types that keep their numbers; others are scaled to 16 bits, and the file says how."""


def nifti_bytes(voxels: Shaped[np.ndarray, "r a s"], affine: Float[np.ndarray, "4 4"]) -> bytes:
    """An uncompressed NIfTI-1 file.

    Args:
        voxels: in RAS+ order.
        affine: voxel index to mm.
    """
    native = voxels.dtype.newbyteorder("=")
    dtype = native if native.name in AS_THEY_ARE else np.dtype(np.int16)
    image = nib.Nifti1Image(voxels.astype(np.float32) if dtype != native else voxels, affine, dtype=dtype)
    image.header.set_data_dtype(dtype)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return content
