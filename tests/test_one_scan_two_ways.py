"""One CT as DICOM with its tags and as NIfTI without: the same vector, by the same rule, which is recorded."""

from pathlib import Path

import nibabel as nib
import numpy as np

from raptor_search.embedding import embed
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.readers import read_file
from raptor_search.specs import PRESETS
from tests.dicom_stacks import acquisition, write_stack
from tests.real_slices import CT_INTERCEPT, real_volume


def test_a_ct_has_one_vector_as_dicom_and_as_nifti(tmp_path: Path) -> None:
    # Outside of its field of view this scan holds lower numbers than air, which 16 bits above -1024 cannot.
    hu = real_volume("slicer-chest-ct")[::2, ::2, ::2].astype(np.int16).clip(CT_INTERCEPT)
    # Stored as an axial series of a scanner: rows to the left, columns to the back, the patient head first.
    stored = (hu[::-1, ::-1].transpose(2, 1, 0) - CT_INTERCEPT).astype(np.uint16)
    lie = acquisition((1, 0, 0), (0, 1, 0))
    write_stack(tmp_path / "ct", np.ascontiguousarray(stored), lie, intercept=CT_INTERCEPT)
    affine = np.diag([lie.between_columns, lie.between_rows, 8.0, 1.0])
    affine[:3, 3] = [-1, -1, 1] * lie.point(0, stored.shape[1] - 1, stored.shape[2] - 1)
    # As another program saves it: other axes, floats, no modality, a name that says nothing.
    turned = nib.Nifti1Image(hu.astype(np.float32), affine).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, tmp_path / "upload.nii.gz")
    encoder = load_encoder("efficientnet-lite0")
    spec = spec_for(encoder, PRESETS["default"], components=10, seed=0)
    (_, dicom), (_, nifti) = read_file(tmp_path / "ct"), read_file(tmp_path / "upload.nii.gz")
    assert (dicom.metadata.modality, nifti.metadata.modality) == ("CT", None)
    np.testing.assert_allclose(dicom.volume.affine, nifti.volume.affine, atol=1e-4)
    one, two = (embed(scan.volume, encoder, spec) for scan in (dicom, nifti))
    assert one.intensity_rule == two.intensity_rule
    assert one.intensity_rule.name == "hu"
    np.testing.assert_array_equal(one.stored, two.stored)
