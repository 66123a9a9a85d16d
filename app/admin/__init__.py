"""The admin's pages: sign in, train, watch jobs, manage storage. Shown only to signed-in admins."""
