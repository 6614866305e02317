"""Names that callers give: one line of text, which lists, logs and terminals show as it is."""

# No control characters (NUL, line feed, escape, …), no line or paragraph separators, nothing that turns the direction
# of the text around it. The same in Python, in Rust and in the JSON schema.
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
