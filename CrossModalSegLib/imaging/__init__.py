"""Scans in space: volumes and their grids, files and DICOM, resampling, registration. Numpy and SimpleITK, no torch."""
