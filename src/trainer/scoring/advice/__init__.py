"""What a finished training did not improve, why that is likely, and what to do next."""
