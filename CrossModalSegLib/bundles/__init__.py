"""Model bundles: folders in MONAI Bundle layout, and where they are kept. No torch."""
