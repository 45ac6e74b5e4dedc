"""Scans as groups have them: NIfTI, NRRD, MetaImage, or a folder with one DICOM series; nobody vouches for them."""
