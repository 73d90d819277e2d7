"""Polar: an organization with checkouts, orders and refunds. It must not know the other processors."""
