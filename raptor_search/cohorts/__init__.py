"""The cohort as a graph and a map: neighbours, clusters, landmarks, placing, and how far to trust the map."""
