"""A DICOM node: receives studies, lets them be segmented, sends the results; and what a person asks of a PACS."""
