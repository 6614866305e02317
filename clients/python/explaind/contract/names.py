"""Names given by callers: one line of text, shown unchanged in lists, logs and terminals."""

# No control characters (NUL, line feed, escape, …), no line or paragraph separators, no bidirectional formatting
# characters. The same in Python, in Rust and in the JSON schema.
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
