"""YooKassa: a shop with its API and notifications. It must not know the other processors."""
