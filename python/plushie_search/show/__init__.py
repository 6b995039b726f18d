"""Tables, picture grids, pages and progress: the only place that writes HTML."""
