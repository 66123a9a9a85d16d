/** Photos that are dropped or pasted anywhere on the page go to its uploader. `data.source` labels what shows it. */

const PATIENCE = 5000; // milliseconds for the page to show the uploader

const uploader = () => document.querySelector('.st-key-upload input[type="file"]');

async function uploaderOf(source) {
  if (!uploader()) {
    const radios = [...document.querySelectorAll('[role="radio"], button')];
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

const pictures = (transfer) => [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));

export default function ({ data }) {
  const abort = new AbortController();
  const { signal } = abort;
  const isInput = (event) => event.composedPath().some((each) => each.matches?.("input, textarea, [data-testid=stFileUploaderDropzone]"));
  document.addEventListener("dragover", (event) => isInput(event) || event.preventDefault(), { signal });
  document.addEventListener(
    "drop",
    (event) => {
      if (isInput(event)) return; // the uploader takes it itself
      event.preventDefault();
      const files = pictures(event.dataTransfer);
      if (files.length) hand(files, data.source);
    },
    { signal },
  );
  document.addEventListener(
    "paste",
    (event) => {
      const files = pictures(event.clipboardData);
      if (files.length) hand(files, data.source);
    },
    { signal },
  );
  return () => abort.abort();
}
