"""Pages of the documentation are run."""
