"""Many cases by many processes: claims with leases, the table of results, chunks on a cluster."""
