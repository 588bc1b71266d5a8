"""A model becomes a site's own: fine-tuning, whether it may take its parent's place, and what to correct next."""
