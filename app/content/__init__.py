"""What is shown, as plain values, pictures and figures. No UI library in here."""
