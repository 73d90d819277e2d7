"""How many statements were sent, as the histogram of named queries counts them."""

from __future__ import annotations

from service.kernel import metrics


def sent(query: str) -> int:
    """Since the process began; the difference of two is what a test looks at."""
    count = metrics.REGISTRY.get_sample_value("ballast_db_query_duration_seconds_count", {"query": query})
    return int(count or 0)
