"""What a study's votes say, as pages and figures."""
