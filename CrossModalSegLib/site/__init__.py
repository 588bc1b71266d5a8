"""A site's own folder: its cases with their labels, its models, its runs, its work list. No torch."""
