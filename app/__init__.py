"""Looks and words: the Streamlit app, the Gradio demo and the pictures that both show."""
