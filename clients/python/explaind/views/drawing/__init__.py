"""What views are drawn with: escaped HTML, colours, heat maps, grids, charts and tables."""
