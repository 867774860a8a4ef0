"""Where the heavy work runs: in this process, or on the machines of a Ray cluster."""
