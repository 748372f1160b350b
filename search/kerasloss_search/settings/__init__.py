"""What a search is asked to do: by options, in a study file, or from Python."""
