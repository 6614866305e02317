"""Drawing primitives of the views: escaped HTML, text, colours, tables, cards, charts; independent of any result."""
