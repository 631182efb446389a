"""The one loop, and what it writes."""
