"""Readable durations."""


def in_words(seconds: float) -> str:
    """Format seconds as 0.4 seconds, 40 seconds, 12 minutes, 3.5 hours or 2.1 days."""
    for unit, length, most in (("seconds", 1, 90), ("minutes", 60, 90 * 60), ("hours", 3600, 36 * 3600)):
        if seconds < most:
            number = seconds / length
            return f"{number:.1f} {unit}" if number < 10 and unit != "minutes" else f"{number:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
