"""What the module can do, and what its sections show, without any view."""
