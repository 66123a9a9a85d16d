"""The admin's rooms: sign in, train, watch jobs, keep order. Drawn only for whoever the gate lets in."""
