"""What stands behind an endpoint: its life, its pools of workers, what they are pinned to."""
