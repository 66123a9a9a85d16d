/** Photos that are dropped or pasted anywhere on the page go to its uploader. `data.source` labels what shows it.
 *
 * `data.accept`, where it is given, is what the uploader's dialog offers; an iPhone then turns its HEIC photos into JPEG.
 */

// Some systems do not know the type of a HEIC; whether it can be read is for the uploader to say.
const isPicture = (file) => file.type.startsWith("image/") || /\.hei[cf]$/i.test(file.name);
const pictures = (transfer) => [...(transfer?.files ?? [])].filter(isPicture);

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
  const offer = () => uploader() && (uploader().accept = data.accept);
  if (data.accept) document.addEventListener("click", offer, { signal, capture: true }); // before its dialog opens
  return () => abort.abort();
}
