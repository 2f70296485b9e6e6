"""What a worker runs in: a container, or a process in a control group."""
