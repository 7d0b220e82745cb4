"""What looks at an installation and at a database: ``queuectl doctor``."""
