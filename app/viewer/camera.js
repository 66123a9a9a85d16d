/** A button that opens a phone's camera; the photo goes to the page's uploader. `data.source` labels what shows it. */
export default function ({ data, parentElement }) {
  const input = Object.assign(document.createElement("input"), { type: "file", accept: "image/*" });
  input.setAttribute("capture", "environment");
  input.setAttribute("aria-label", data.label);
  const button = document.createElement("label");
  button.className = "camera";
  button.append(data.label, input);
  input.addEventListener("change", async () => {
    const files = [...input.files];
    if (files.length) await hand(files, data.source);
    input.value = ""; // the same name may come again
  });
  parentElement.append(button);
  return () => button.remove();
}
