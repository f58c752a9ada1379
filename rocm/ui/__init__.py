"""The page. Only here are Gradio and Plotly known; everything else is asked of `rocm.studio`."""
