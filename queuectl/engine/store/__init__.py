"""Where jobs are kept: the contract, and a backend a folder."""
