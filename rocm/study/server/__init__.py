"""The voting page and its HTTP API, on Starlette; without Gradio and torch."""
