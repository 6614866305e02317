"""Number formats of the generated pages."""


def in_mb(value: int) -> str:
    """Bytes in megabytes."""
    return f"{value / (1 << 20):,.0f} MB"


def in_seconds(value: float) -> str:
    """A time in seconds, or in milliseconds below one second."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
