"""What the routes of the server do."""
