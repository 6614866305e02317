"""What views are drawn with: escaped HTML, text, colours, tables, cards and charts; knows no single result."""
