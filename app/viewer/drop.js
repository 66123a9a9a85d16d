/** Photos that are dropped or pasted anywhere on the page go to its uploader. `data.source` labels what shows it. */

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
