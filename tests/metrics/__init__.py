"""The metrics: what Prometheus reads, and the server that gives it to Prometheus."""
