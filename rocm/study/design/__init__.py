"""What a study asks and of which pictures, from its recipe to its end."""
