"""Parts of a page that belong to one kind of result: an attribution's interactions, the grid of a lens."""
