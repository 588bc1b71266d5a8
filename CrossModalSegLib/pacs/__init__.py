"""To and from a PACS: DICOM objects of results, the pair in a study, peers on the network, the node."""
