"""What each page shows: the engine and a query in, a frozen value out, ready to be shown."""
