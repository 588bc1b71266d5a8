"""Data sets as sites and papers lay them out, and scans in files as people have them. No torch."""
