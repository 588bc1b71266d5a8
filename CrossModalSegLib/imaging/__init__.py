"""Scans in space: volumes and their grids, files and DICOM, resampling, registration. NumPy, SimpleITK and pydicom, no
torch."""
