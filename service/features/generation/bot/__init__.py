"""What people say and press to have things made. It knows the queue by its door, and no provider's wire."""
