"""User interfaces: the Streamlit app, the Gradio demo, and the pictures that both show."""
