"""Compare what a run found with the truth: zones, defects, sizes and verdicts."""
