/** Hands photos to the page's uploader, wherever they come from. `source` labels the control that shows it. */

const PATIENCE = 5000; // milliseconds for the page to show the uploader

// Streamlit's uploader, or Gradio's.
const uploader = () => document.querySelector(':is([class*="st-key-own_upload"], #photo) input[type="file"]');

async function uploaderOf(source) {
  if (!uploader()) {
    const radios = [...document.querySelectorAll('[role="radio"], button, #source label')];
    radios.find((each) => each.textContent.trim() === source)?.click();
  }
  for (const end = Date.now() + PATIENCE; !uploader() && Date.now() < end; )
    await new Promise((done) => setTimeout(done, 50));
  return uploader();
}

async function hand(files, source) {
  const input = await uploaderOf(source);
  if (!input) return;
  const carried = new DataTransfer();
  for (const file of files) carried.items.add(file);
  input.files = carried.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

