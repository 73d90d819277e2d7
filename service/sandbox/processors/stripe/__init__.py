"""Stripe: an account with Checkout, refunds, disputes and events. It must not know the other processors."""
