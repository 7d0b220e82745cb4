"""What moves jobs: workers, processes, files, recovery."""
